package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// shop is a world without a node.
func shop() world {
	return world{env: map[string]string{"BHNODE_CONFIG": "testdata/plan/shop.yaml", "BHNODE_SOCKET": "/nobody/listens", "LANG": "C.UTF-8"}}
}

func TestPlanNeedsNoNode(t *testing.T) {
	got := shop().exec(t, "plan")
	if got.code != exitOK {
		t.Errorf("exit code %d: %s", got.code, got.err)
	}
	golden(t, "plan", got.out+"--- stderr\n"+got.err)
}

func TestPlanJSON(t *testing.T) {
	got := shop().exec(t, "plan", "-o", "json")
	var plan struct {
		Waves [][]string     `json:"waves"`
		Tree  map[string]any `json:"tree"`
	}
	if err := json.Unmarshal([]byte(got.out), &plan); err != nil || got.code != exitOK {
		t.Fatalf("%v, exit code %d: %s", err, got.code, got.err)
	}
	want := [][]string{{"db", "cache", "report", "beat"}, {"migrate", "worker"}, {"api"}, {"mail"}}
	if diff := cmp.Diff(want, plan.Waves); diff != "" {
		t.Errorf("waves (-want +got):\n%s", diff)
	}
	assertKeys(t, "the tree", treeKeys, plan.Tree)
	assertKeys(t, "its first child", treeKeys, plan.Tree["children"].([]any)[0])
	if plan.Tree["strategy"] != "rest_for_one" || plan.Tree["state"] != nil || plan.Tree["incarnation"] != nil {
		t.Errorf("got %v", plan.Tree)
	}
}

func TestWhatifForPeople(t *testing.T) {
	var all strings.Builder
	for _, args := range []string{
		"db", "db --exit normal", "migrate", "migrate --exit normal", "cache", "cache --times 4", "api --times 2", "api --times 3",
		"mail --times 2", "worker", "worker --times 3", "beat", "report", "report --exit normal --times 2",
	} {
		got := shop().exec(t, append([]string{"whatif"}, strings.Fields(args)...)...)
		if got.code != exitOK {
			t.Errorf("%s: exit code %d: %s", args, got.code, got.err)
		}
		all.WriteString("$ bhnode whatif " + args + "\n" + got.out + "\n")
	}
	golden(t, "whatif", all.String())
}

func TestWhatifJSON(t *testing.T) {
	tests := map[string]string{
		"worker":           `{"stop":[["beat"]],"start":[["worker","beat"]],"untouched":["db","migrate","cache","api","mail","report"],"escalates":false}`,
		"worker --times 3": `{"stop":[["beat"]],"start":[["worker","beat"]],"untouched":["db","migrate","cache","api","mail","report"],"escalates":true}`,
		"report":           `{"stop":[],"start":[],"untouched":["db","migrate","cache","worker","beat","api","mail"],"escalates":false}`,
	}
	for args, want := range tests {
		got := shop().exec(t, append([]string{"whatif", "-o", "json"}, strings.Fields(args)...)...)
		var a, b any
		if err := json.Unmarshal([]byte(got.out), &a); err != nil {
			t.Fatalf("%s: %v in %q", args, err, got.out)
		}
		if err := json.Unmarshal([]byte(want), &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(b, a); diff != "" {
			t.Errorf("%s (-want +got):\n%s", args, diff)
		}
	}
}

func TestWhatifRefuses(t *testing.T) {
	tests := []struct {
		args string
		code int
		err  string
	}{
		{"wroker", exitNoService, `did you mean "worker"?`},
		{"zzz", exitNoService, `"bhnode plan" lists the services`},
		{"off", exitNoService, "no enabled service is called off"},
		{"jobs", exitUsage, "jobs is a supervisor"},
		{"db --exit boom", exitUsage, "crash or normal"},
		{"db --times 0", exitUsage, "between 1 and 10000"},
		{"db --config testdata/none.yaml", exitUsage, "none.yaml"},
	}
	for _, tt := range tests {
		got := shop().exec(t, append([]string{"whatif"}, strings.Fields(tt.args)...)...)
		if got.code != tt.code || !strings.Contains(got.err, tt.err) || got.out != "" {
			t.Errorf("%s: exit code %d, want %d; %q, want %q; %q", tt.args, got.code, tt.code, got.err, tt.err, got.out)
		}
	}
}
