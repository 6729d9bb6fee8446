package configs

// shape is what a key takes. The readers of the configuration tell it of themselves, so that
// the schema that editors use is that of what is read.
type shape struct {
	kind      shapeKind
	low, high float64  // of numbers
	words     []string // that can stand here, or of which one must
	fallback  any      // nil or "": none that can be told
}

type shapeKind string

const (
	shapeMapping       shapeKind = "mapping" // of keys that have shapes of their own
	shapeAny           shapeKind = "any"     // mapping
	shapeString        shapeKind = "string"
	shapeInteger       shapeKind = "integer"
	shapeNumber        shapeKind = "number"
	shapeBoolean       shapeKind = "boolean"
	shapeDuration      shapeKind = "duration"
	shapeChoice        shapeKind = "choice"
	shapeMode          shapeKind = "mode" // quoted octal
	shapeSignal        shapeKind = "signal"
	shapeList          shapeKind = "list" // of scalars
	shapeBooleanOrList shapeKind = "boolean or list"
	shapeStrings       shapeKind = "strings"  // by name
	shapeCommand       shapeKind = "command"  // a string, or a list of strings
	shapeCommands      shapeKind = "commands" // or a list of lists
	shapeDependencies  shapeKind = "dependencies"
)

// takes tells what a key takes.
func (o *object) takes(key string, s shape) {
	if o.d.shapes != nil {
		o.d.shapes[o.at(key)] = s
	}
}
