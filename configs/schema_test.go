package configs

import (
	"bytes"
	"encoding/json"
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// shapesOf reads a configuration and returns what every key takes. The paths of a service
// are those of defaults, those of a supervisor those of the first of the tree.
func shapesOf(t *testing.T) map[string]shape {
	t.Helper()
	const all = `
metrics: {listen: ""}
supervisor: {}
defaults: {command: [a]}
services: {x: {command: [a], depends_on: {y: {}}}, y: {}}
tree: [{supervisor: s, children: [x]}]
notify: [{command: [a], on: [node.ready]}]
access: [{user: a, role: viewer}]
`
	d := &decoder{file: "x", machine: testMachine(nil), masked: map[string]string{}, shapes: map[string]shape{}}
	if _, err := d.decode(Source{Path: "/x"}, all); err != nil {
		t.Fatal(err)
	}
	shapes := map[string]shape{}
	for path, s := range d.shapes {
		if dep, ok := strings.CutPrefix(path, "services.x.depends_on.y."); ok {
			path = "depends_on." + dep
		}
		if !strings.HasPrefix(path, "services.") {
			shapes[path] = s
		}
	}
	return shapes
}

// headings of the reference and where their keys stand.
var headings = map[string]string{
	"How it is run": "defaults.", "`depends_on`": "depends_on.", "`health_check`": "defaults.health_check.", "`restart`": "defaults.restart.",
	"`shutdown`": "defaults.shutdown.", "`hooks`": "defaults.hooks.", "`resources`": "defaults.resources.", "`tree`": "tree[0].",
	"`node`": "node.", "`logs`": "logs.", "`control`": "control.", "`metrics`": "metrics.", "`notify`": "notify[0].", "`tls`": "tls.", "`access`": "access[0].", "`supervisor`": "supervisor.",
}

// described is what the reference says of each key: its tables have the key, what it
// takes, its default and its effect.
func described(t *testing.T) map[string]string {
	t.Helper()
	text, err := os.ReadFile("../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	out, at := map[string]string{ // sections of their own
		"defaults.depends_on": "the services that must be there before it starts: a list, or a mapping of names to how each is needed",
		"defaults.config":     "any mapping; it is rendered into a file that BLACKHOLE_CONFIG names",
	}, ""
	row := regexp.MustCompile("^\\| (`[a-z_`, ]+`) \\| [^|]+ \\| [^|]+ \\| ([^|]+) \\|$")
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSuffix(line, "\n")
		if title, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && strings.HasPrefix(line, "##") {
			at = headings[title]
		}
		if m := row.FindStringSubmatch(line); m != nil && at != "" {
			for key := range strings.SplitSeq(m[1], ", ") {
				out[at+strings.Trim(key, "`")] = unmarked(m[2])
			}
		}
	}
	return out
}

// unmarked takes the marks of Markdown away.
func unmarked(text string) string {
	text = regexp.MustCompile(`\[([^]]*)\]\([^)]*\)`).ReplaceAllString(text, "$1")
	return strings.ReplaceAll(text, "`", "")
}

type schema = map[string]any

// An expanded variable may stand for any single value.
var variable = schema{"type": "string", "pattern": `\$\{`}

func anyOf(list ...any) schema { return schema{"anyOf": list} }

const durationPattern = `^([0-9]+(\.[0-9]+)?(d|h|m|s|ms|us|µs|ns))+$|^0$`

func (s shape) schema() schema {
	str, scalar := schema{"type": "string"}, schema{"type": []string{"string", "number", "boolean"}}
	list := schema{"type": []string{"array", "null"}, "items": scalar}
	command := anyOf(str, schema{"type": "array", "items": scalar})
	switch s.kind {
	case shapeInteger, shapeNumber:
		number := schema{"type": string(s.kind), "minimum": s.low}
		if s.high != maxInt {
			number["maximum"] = s.high
		}
		options := []any{number, variable}
		if len(s.words) > 0 {
			options = append(options, schema{"enum": s.words})
		}
		return anyOf(options...)
	case shapeBoolean:
		return anyOf(schema{"type": "boolean"}, variable)
	case shapeDuration:
		options := []any{schema{"type": "string", "pattern": durationPattern}, schema{"const": 0}, variable}
		if len(s.words) > 0 {
			options = append(options, schema{"enum": s.words})
		}
		return anyOf(options...)
	case shapeChoice:
		return anyOf(schema{"enum": s.words}, variable)
	case shapeMode:
		return schema{"type": "string", "pattern": `^0?[0-7]{1,4}$|\$\{`}
	case shapeSignal:
		return schema{"type": "string", "pattern": `^(SIG)?[A-Z0-9+]+$|\$\{`}
	case shapeList:
		return list
	case shapeBooleanOrList:
		return anyOf(schema{"type": "boolean"}, list, variable)
	case shapeStrings:
		return schema{"type": []string{"object", "null"}, "additionalProperties": scalar}
	case shapeCommand:
		return command
	case shapeCommands:
		return anyOf(command, schema{"type": "array", "items": command}, schema{"type": "null"})
	case shapeDependencies:
		return anyOf(schema{"type": []string{"array", "null"}, "items": str},
			schema{"type": "object", "additionalProperties": schema{"$ref": "#/$defs/dependency"}})
	case shapeAny:
		return schema{"type": []string{"object", "null"}}
	case shapeString, shapeMapping:
	}
	return anyOf(str, schema{"type": []string{"number", "boolean"}})
}

// generate makes the schema of shapes and what is said of them.
func generate(t *testing.T) []byte {
	t.Helper()
	shapes, said := shapesOf(t), described(t)
	objects := map[string]schema{}
	object := func(path string) schema {
		if objects[path] == nil {
			objects[path] = schema{
				"type": []string{"object", "null"}, "additionalProperties": false, "properties": schema{"<<": schema{}}, "patternProperties": schema{"^x-": schema{}},
			}
		}
		return objects[path]
	}
	for _, path := range slices.Sorted(maps.Keys(shapes)) {
		s, at, key := shapes[path], "", path
		if i := strings.LastIndexByte(path, '.'); i >= 0 {
			at, key = path[:i], path[i+1:]
		}
		value := s.schema()
		if s.kind == shapeMapping {
			value = object(path)
		}
		if text := said[path]; text != "" {
			value["description"] = text
		} else if s.kind != shapeMapping && path != "version" && !strings.HasPrefix(path, "remote") && path != "access[0].remote_address" &&
			!strings.HasPrefix(path, "tree[0].") {
			t.Errorf("docs/configuration.md does not describe %s", path)
		}
		if s.fallback != nil && s.fallback != "" {
			value["default"] = s.fallback
		}
		object(at)["properties"].(schema)[key] = value
	}
	for path := range said {
		if _, ok := shapes[path]; !ok && path != "tree[0].children" {
			t.Errorf("docs/configuration.md describes %s, which is no key", path)
		}
	}
	return whole(t, object)
}

// whole puts the parts together.
func whole(t *testing.T, object func(string) schema) []byte {
	t.Helper()
	top, service, supervisor := object(""), object("defaults"), object("tree[0]")
	of := func(s schema, description string) schema {
		s["description"] = description
		return s
	}
	properties := top["properties"].(schema)
	properties["defaults"] = of(schema{"$ref": "#/$defs/service"}, "any keys of a service; they are merged under every service")
	properties["services"] = of(schema{
		"type": []string{"object", "null"}, "propertyNames": schema{"pattern": serviceName.String()},
		"additionalProperties": schema{"anyOf": []any{schema{"$ref": "#/$defs/service"}, schema{"type": "null"}}},
	}, "the services by their names")
	properties["tree"] = of(schema{"$ref": "#/$defs/children"}, "nested supervisors: the list of the root's children")
	event := object("notify[0]")
	event["required"] = []string{"command", "on"}
	properties["notify"] = of(schema{"type": []string{"array", "null"}, "items": event}, "commands that tell of events")
	grant := object("access[0]")
	grant["required"] = []string{"role"}
	properties["access"] = of(schema{"type": []string{"array", "null"}, "items": grant}, "who besides root and the owner may do what")
	properties["version"].(schema)["description"] = "of the configuration language"
	supervisor["properties"].(schema)["children"] = of(schema{"$ref": "#/$defs/children"}, "what it supervises")
	supervisor["required"] = []string{"supervisor", "children"}
	top["required"] = []string{"services"}
	top["type"] = "object"
	top["$schema"], top["title"] = "https://json-schema.org/draft/2020-12/schema", "Configuration of bhnode"
	top["$defs"] = schema{
		"service": service, "supervisor": supervisor, "dependency": object("depends_on"),
		"children": schema{"type": []string{"array", "null"}, "items": anyOf(schema{"type": "string"}, schema{"$ref": "#/$defs/supervisor"})},
	}
	var out bytes.Buffer
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", " ")
	if err := enc.Encode(top); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// The schema is that of what is read, and of what the reference says; -update writes it.
func TestSchemaIsThatOfWhatIsRead(t *testing.T) {
	made := generate(t)
	if *update {
		if err := os.WriteFile("blackhole.schema.json", made, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(made), string(Schema())); diff != "" {
		t.Errorf("blackhole.schema.json is not fresh; go test ./configs -update (-want +got):\n%s", diff)
	}
}

func compiledSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(Schema()))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("schema.json", doc); err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func validate(t *testing.T, s *jsonschema.Schema, text string) error {
	t.Helper()
	data, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(doc)
}

func TestSchemaTakesWhatTheReaderTakes(t *testing.T) {
	s := compiledSchema(t)
	seed, err := os.ReadFile("testdata/valid/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"embedded": string(Default()), "seed": string(seed), "elaborate": elaborate} {
		if err := validate(t, s, text); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if err := validate(t, s, mustParse(t, strings.ReplaceAll(text, "${JWT_SECRET}", "x")).Show()); err != nil {
			t.Errorf("%s as it is shown: %v", name, err)
		}
	}
}

func TestSchemaRefusesWhatTheReaderRefuses(t *testing.T) {
	s := compiledSchema(t)
	for _, text := range []string{
		"services: {a: {comand: [a]}}",
		"services: {a: {restart: {type: allways}}}",
		"services: {a: {tcp_port: 70000}}",
		"services: {a: {health_check: {interval: 5}}}",
		"services: {A: {}}",
		"node: {}",
		"services: {}\ntree: [{supervisor: x}]",
		"services: {a: {umask: 22}}",
	} {
		if validate(t, s, text) == nil {
			t.Errorf("the schema takes %s", text)
		}
	}
}
