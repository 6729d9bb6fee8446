package configs

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/blackhole/bhnode/proc"
)

func TestSecretNames(t *testing.T) {
	for _, name := range []string{"secret", "jwt_secret", "DB_PASSWORD", "apiKey", "api-key", "APIKEY", "auth.token", "AWSSecretKey", "--private-key", "credentials", "sslKeyPEM", "PGPASSWORD", "REDISCLI_AUTH", "authtoken"} {
		if !secretName(name) {
			t.Errorf("%s is not taken for a secret", name)
		}
	}
	for _, name := range []string{"monkey", "keyboard", "tokenizer", "database_url", "cache_size", "privately", "", "secretary", "author", "oauth"} {
		if secretName(name) {
			t.Errorf("%s is taken for a secret", name)
		}
	}
}

const secretive = `
services:
  a:
    command: [run, --password, hunter2, --token=hunter2, "PASSWORD=hunter2", "postgres://u:hunter2@h/db?secret=hunter2&x=1", "pre${BHTEST_SECRET}post", --verbose, plain]
    env: {API_KEY: hunter2, PLAIN: visible, FROM: "x${BHTEST_SECRET}", URL: "redis://:hunter2@h"}
    env_file: a.env
    data_dir: /data/${BHTEST_SECRET}
    health_check: {type: http, target: "http://u:hunter2@localhost:80/"}
    hooks: {pre_start: [login, --credential, hunter2]}
    config:
      jwt_secret: hunter2
      keys: {one: hunter2, two: [hunter2, 5]}
      nested: [{password: hunter2}, "${BHTEST_SECRET}"]
      url: amqp://user:hunter2@h
      plain: visible
`

func TestSecretsAreMasked(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "x.yaml")
	if err := os.WriteFile(path, []byte(secretive), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "a.env"), []byte("X=hunter2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := load(Source{Path: path}, testMachine(testEnv))
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	if strings.Contains(shown, "hunter2") {
		t.Errorf("Show gives a secret away:\n%s", shown)
	}
	for _, visible := range []string{"PLAIN: visible", "plain: visible", "/data/***", "amqp://***@h", "env_file: " + dir + "/a.env"} {
		if !strings.Contains(shown, visible) {
			t.Errorf("Show hides %q:\n%s", visible, shown)
		}
	}
	want := []string{"run", "--password", "***", "--token=***", "PASSWORD=***", "postgres://***@h/db?secret=***&x=1", "pre***post", "--verbose", "plain"}
	if diff := cmp.Diff(want, c.MaskCommand(&c.Services[0])); diff != "" {
		t.Errorf("command is shown as (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]proc.EnvVar{{Name: "X", Value: "hunter2"}}, c.Services[0].EnvFile); diff != "" {
		t.Errorf("the service itself gets (-want +got):\n%s", diff)
	}
}

func TestValuesOfVariablesAreMaskedWhereverTheyEndUp(t *testing.T) {
	m := testMachine(map[string]string{"D": "hunter2", "R": "/hunter2", "P": "22222", "T": "22ms"})
	m.uid = 0
	c, err := parse(t, m, `
node: {data_dir: "/x/${D}", runtime_dir: "${R}"}
services:
  a: {health_check: {timeout: "${T}"}}
  b: {command: [b], tcp_port: "${P}", user: nobody, health_check: {}}
`)
	if err != nil {
		t.Fatal(err)
	}
	shown := c.Show()
	for _, secret := range []string{"hunter2", "22222", "22ms"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown:\n%s", secret, shown)
		}
	}
}

const elaborate = `
node: {name: n, boot: best_effort, max_parallel_starts: 3, on_daemon_death: kill, shutdown_timeout: 1d}
logs: {format: raw, on_overflow: drop, compress: false, block_timeout: 0}
control: {socket: c.sock, socket_mode: "0640", listen: "0.0.0.0:10"}
access: [{user: alice, role: operator}, {cert: "spiffe://x/fleet", role: viewer}]
notify:
  - {command: ./tell x, on: [service.failed, "supervisor.*"], services: [db, data], timeout: 1s}
  - {command: [/bin/tell, "a b"], on: [node.ready]}
metrics: {listen: "[::1]:9", interval: 1m, tls: mutual, compat_names: true}
tls: {ca: ca.pem, cert: /etc/n.pem, key: n.key}
supervisor: {strategy: one_for_one, auto_shutdown: any_significant}
defaults: {env: {A: "$x ${BLACKHOLE_PORT} $${BLACKHOLE_PORT} $$$$ $${x}"}}
services:
  web: {command: "web '$${BLACKHOLE_PORT}' a=b ''", tcp_port: 80, depends_on: {job: {condition: completed}, gone: {required: false}, off: {required: false}}}
  job: {command: [job], restart: {type: temporary, success_codes: [1, HUP], max_restarts: unlimited}, significant: true}
  off: {enabled: false, description: "yes", inherit_env: false}
  db:
    command: ["db", "{x}", "#", "- a", "null", "5"]
    inherit_env: [PATH]
    resources: {memory_mb: 5, open_files: 6}
    health_check: {type: log, target: "^ready$$$"}
    shutdown: {timeout: brutal_kill, signal: QUIT}
    hooks: {post_stop: [[a, "b c"], [d]]}
    config: {a: [1, {b: "$${c}"}], d: "e\nf", "g: h": ~}
  host: {health_check: {type: exec, target: [check, "${BLACKHOLE_SOCKET}"], start_period: infinity}, shutdown: {timeout: infinity}}
tree:
  - supervisor: data
    order: sequence
    restart: temporary
    significant: true
    initial_delay: 0
    children: [db, {supervisor: inner, children: [off, host]}]
`

func TestShownConfigurationReadsAsItself(t *testing.T) {
	text, err := os.ReadFile("testdata/valid/seed.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"embedded": string(Default()), "elaborate": elaborate, "seed": strings.ReplaceAll(string(text), "jwt_secret", "jwt"),
	} {
		t.Run(name, func(t *testing.T) {
			first := mustParse(t, strings.ReplaceAll(text, "${JWT_SECRET}", "x"))
			second := mustParse(t, first.Show())
			if diff := cmp.Diff(first.Show(), second.Show()); diff != "" {
				t.Errorf("shown again (-first +second):\n%s", diff)
			}
			diff := cmp.Diff(first, second, cmpopts.IgnoreUnexported(Config{}, Service{}, Announcement{}), cmpopts.IgnoreFields(Config{}, "Warnings"))
			if diff != "" {
				t.Errorf("read again (-first +second):\n%s", diff)
			}
		})
	}
}

// anyNode draws a document of mappings, lists and scalars.
func anyNode(depth int) *rapid.Generator[*node] {
	return rapid.Custom(func(t *rapid.T) *node {
		kinds := []kind{stringKind, stringKind, integerKind, boolKind, nullKind, mapKind, listKind}
		if depth == 0 {
			kinds = kinds[:5]
		}
		n := &node{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
		switch n.kind {
		case stringKind:
			n.text = anyText().Draw(t, "text")
			n.plain = plainWhereSafe(n.text)
		case integerKind:
			n.text = rapid.SampledFrom([]string{"0", "-5", "0x1f", "1_000"}).Draw(t, "number")
		case boolKind:
			n.text = "true"
		case nullKind:
			n.text = "null"
		case mapKind:
			for _, key := range rapid.SliceOfNDistinct(anyText(), 0, 4, rapid.ID).Draw(t, "keys") {
				n.fields = append(n.fields, field{key: key, plain: plainWhereSafe(key), value: anyNode(depth-1).Draw(t, "value")})
			}
		case listKind:
			n.items = rapid.SliceOfN(anyNode(depth-1), 0, 4).Draw(t, "items")
		case floatKind:
		}
		return n
	})
}

func anyText() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringOf(rapid.RuneFrom([]rune("ab: #-{}[],&*!|>'\"%@`\n\t\\~$/.0é\u0085\u2028\ufeff"))),
		rapid.SampledFrom([]string{"", "yes", "null", "~", "0644", "1e3", "<<", "=", "-", "2026-01-02", "true", ".inf", "a:", "x y"}),
		rapid.String(),
	)
}

func TestWhatIsWrittenReadsAsItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := &node{kind: mapKind, fields: []field{{key: "top", plain: true, value: anyNode(3).Draw(t, "document")}}}
		var e emitter
		e.block(want, 0)
		got := parseYAML(e.String(), func(at pos, path, message, _ string) { t.Fatalf("%v %s: %s\n%s", at, path, message, e.String()) })
		same := cmp.Options{
			cmp.AllowUnexported(node{}, field{}), cmpopts.IgnoreTypes(pos{}), cmpopts.EquateEmpty(),
			cmpopts.IgnoreFields(node{}, "plain"), cmpopts.IgnoreFields(field{}, "plain"),
		}
		if diff := cmp.Diff(want, got, same); diff != "" {
			t.Fatalf("(-want +got):\n%s\n%s", diff, e.String())
		}
	})
}
