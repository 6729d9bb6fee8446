// Package configs is the configuration language of a node: one YAML file in,
// complete and checked values out.
//
// A file goes through five steps, and every mistake of all of them is reported
// at once, in the order of the file, with its line and column:
//
//	parse     YAML text → node tree with positions; anchors and merge keys are
//	          resolved, duplicate keys found                        (yaml.go)
//	merge     `defaults` goes under every service                   (node.go)
//	expand    ${VAR} in string values, when a value is read, so that no value
//	          can change the document's structure                   (expand.go)
//	read      node tree → typed drafts; unknown keys, wrong types   (object.go, read_*.go)
//	check     what one value alone cannot show: dependencies, cycles, orders,
//	          two services on one socket                            (check_*.go)
//
// Nothing below this package sees a string to be parsed, with one exception:
// ${BLACKHOLE_…} is known per incarnation only and stays as it is for proc. Where
// proc expands (command, env, health_check.target, hooks) proc's rule is: in a
// run of dollars in front of {BLACKHOLE_NAME} every pair stands for one dollar,
// and a dollar left over begins the variable. So $${BLACKHOLE_NAME} is handed on
// as it is written, and proc makes ${BLACKHOLE_NAME} of it; every other $$ is
// turned into a dollar here.
//
// Config holds what a node needs: its own settings, the services in file order,
// and the supervision tree of the enabled ones. Show prints it all with secrets
// masked.
package configs
