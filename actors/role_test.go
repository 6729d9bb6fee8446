package actors

import (
	"context"
	"crypto/x509"
	"net"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// calls are all calls of the API.
func calls() (all []string) {
	for _, m := range bhnodev1.Node_ServiceDesc.Methods {
		all = append(all, apiPrefix+m.MethodName)
	}
	for _, m := range bhnodev1.Node_ServiceDesc.Streams {
		all = append(all, apiPrefix+m.StreamName)
	}
	return all
}

func as(ctx context.Context, info peerInfo) context.Context {
	return peer.NewContext(ctx, &peer.Peer{Addr: &net.TCPAddr{IP: net.IPv4(10, 0, 0, 9), Port: 4711}, AuthInfo: info})
}

// Every call is named with the role it takes; one that is not takes an admin.
func TestEveryCallTakesARole(t *testing.T) {
	all := calls()
	for _, method := range all {
		if takes[method] == Nobody {
			t.Errorf("%s takes no role", method)
		}
	}
	if len(takes) != len(all) {
		t.Errorf("%d calls take a role, the API has %d", len(takes), len(all))
	}
	operator := as(t.Context(), peerInfo{who: "uid 7", role: Operator})
	wantCode(t, admit(operator, apiPrefix+"FormatDisk"), codes.PermissionDenied)
}

func TestWhatEachRoleMayDo(t *testing.T) {
	may := map[Role]string{
		Nobody:   "",
		Viewer:   "GetNode GetStatus GetTree StreamEvents StreamLogs WatchStatus",
		Operator: "DebugService PauseSupervisor ProfileService RestartServices ResumeSupervisor SignalService StartServices StopServices",
		Admin:    "AbandonReload Reload ReportRejections Shutdown Upgrade",
	}
	allowed := ""
	for _, role := range []Role{Nobody, Viewer, Operator, Admin} {
		allowed += " " + may[role]
		for _, method := range calls() {
			want := strings.Contains(allowed+" ", " "+strings.TrimPrefix(method, apiPrefix)+" ")
			err := admit(as(t.Context(), peerInfo{who: "uid 7", role: role}), method)
			if got := err == nil; got != want {
				t.Errorf("%v, %s: %v, want allowed %v", role, method, err, want)
			}
		}
		err := admit(as(t.Context(), peerInfo{who: "uid 7", role: role}), "/grpc.health.v1.Health/Check")
		if got := err == nil; got != (role > Nobody) {
			t.Errorf("%v, health: %v", role, err)
		}
	}
}

func TestARefusalSaysWhoAndWhatItTakes(t *testing.T) {
	for _, c := range []struct {
		info   peerInfo
		method string
		want   string
	}{
		{peerInfo{who: "uid 7"}, "GetNode", "uid 7 may not control this node"},
		{peerInfo{who: "uid 7", role: Viewer}, "StopServices", "uid 7 is a viewer, and StopServices takes an operator"},
		{peerInfo{who: "uid 7", role: Operator}, "Upgrade", "uid 7 is an operator, and Upgrade takes an admin"},
		{peerInfo{who: "certificate x", role: Operator, remote: true}, "Upgrade", "certificate x comes from another machine, and Upgrade takes an admin on the control socket"},
	} {
		if err := admit(as(t.Context(), c.info), apiPrefix+c.method); err == nil || !strings.HasSuffix(err.Error(), c.want) {
			t.Errorf("%v, want %s", err, c.want)
		}
	}
}

func TestTheJournalIsToldWhoFromWhere(t *testing.T) {
	if got := who(as(t.Context(), peerInfo{who: "uid 7"})); got != "uid 7" {
		t.Errorf("a user is %q", got)
	}
	if got := who(as(t.Context(), peerInfo{who: "certificate fleet.example", remote: true, from: "10.0.0.9:4711"})); got != "certificate fleet.example from 10.0.0.9:4711" {
		t.Errorf("a certificate is %q", got)
	}
	if got := who(t.Context()); got != "unknown" {
		t.Errorf("nobody is %q", got)
	}
}

// An admin of this machine may call for the owner of a certificate, and then may do what that
// may; nobody else is heard.
func TestCallsOnBehalfOfACertificate(t *testing.T) {
	access := Access{OfName: map[string]Role{"fleet.example": Viewer, "root.example": Admin}}
	for _, c := range []struct {
		caller peerInfo
		name   string
		role   Role
		who    string
	}{
		{peerInfo{who: "uid 0", role: Admin, own: true}, "fleet.example", Viewer, "certificate fleet.example from 10.0.0.9:1"},
		{peerInfo{who: "uid 0", role: Admin, own: true}, "root.example", Operator, "certificate root.example from 10.0.0.9:1"},
		{peerInfo{who: "uid 0", role: Admin, own: true}, "else.example", Nobody, "certificate else.example from 10.0.0.9:1"},
		{peerInfo{who: "uid 6", role: Admin}, "fleet.example", Admin, "uid 6"},
		{peerInfo{who: "uid 7", role: Operator}, "root.example", Operator, "uid 7"},
		{peerInfo{who: "uid 8", role: Viewer}, "root.example", Viewer, "uid 8"},
		{peerInfo{who: "certificate x", role: Operator, remote: true, from: "10.0.0.8:2"}, "root.example", Operator, "certificate x from 10.0.0.8:2"},
	} {
		c.caller.access = access
		out, _ := metadata.FromOutgoingContext(OnBehalf(t.Context(), c.name, "10.0.0.9:1"))
		ctx := metadata.NewIncomingContext(as(t.Context(), c.caller), out)
		info, _ := peerOf(ctx)
		if info.role != c.role || who(ctx) != c.who {
			t.Errorf("%s for %s is %v, %q, want %v, %q", c.caller.who, c.name, info.role, who(ctx), c.role, c.who)
		}
	}
}

// Who calls for two at once calls for nobody.
func TestACallForTwoIsOfNobody(t *testing.T) {
	caller := peerInfo{who: "uid 0", role: Admin, own: true, access: Access{OfName: map[string]Role{"a": Viewer, "b": Viewer}}}
	out, _ := metadata.FromOutgoingContext(OnBehalf(OnBehalf(t.Context(), "a", "x"), "b", "y"))
	if info, _ := peerOf(metadata.NewIncomingContext(as(t.Context(), caller), out)); info.role != Nobody {
		t.Errorf("it is %v", info.role)
	}
}

// The best of a certificate's names counts, and none makes an admin.
func TestTheRoleOfACertificate(t *testing.T) {
	access := Access{OfName: map[string]Role{"view.example": Viewer, "op.example": Operator, "spiffe://x/admin": Admin}}
	uri, err := url.Parse("spiffe://x/admin")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		cert *x509.Certificate
		name string
		role Role
	}{
		{&x509.Certificate{DNSNames: []string{"view.example"}}, "view.example", Viewer},
		{&x509.Certificate{DNSNames: []string{"view.example", "op.example", "none.example"}}, "op.example", Operator},
		{&x509.Certificate{URIs: []*url.URL{uri}}, "spiffe://x/admin", Operator},
		{&x509.Certificate{DNSNames: []string{"a.view.example"}}, "a.view.example", Nobody},
		{&x509.Certificate{}, "", Nobody},
	} {
		if name, role := access.ofCertificate(c.cert); name != c.name || role != c.role {
			t.Errorf("%v: %q is %v, want %q, %v", c.cert.DNSNames, name, role, c.name, c.role)
		}
	}
}
