package actors

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	bhnodev1 "github.com/blackhole/bhnode/proto/bhnode/v1"
)

// Role is what somebody may do with a node; each may do what those below it may.
type Role uint8

// The values of Role.
const (
	Nobody Role = iota
	Viewer
	Operator
	Admin
)

func (r Role) String() string { return [...]string{"nobody", "viewer", "operator", "admin"}[r] }

// Access says who has which role.
type Access struct {
	// OfUser returns the role of a user of this machine.
	OfUser func(uid int) Role
	// OfName are the roles of certificates, by the DNS name or URI they are for.
	OfName map[string]Role
}

// ofCertificate returns the role of a certificate and the name it is for. It is
// never that of an admin: nobody from another machine may end the node or have
// it run a program.
func (a Access) ofCertificate(cert *x509.Certificate) (name string, role Role) {
	for _, n := range NamesOf(cert) {
		if r := a.ofName(n); name == "" || r > role {
			name, role = n, r
		}
	}
	return name, role
}

// NamesOf are the names that a certificate is for, of those that access can give a role to.
func NamesOf(cert *x509.Certificate) []string {
	names := slices.Clone(cert.DNSNames)
	for _, uri := range cert.URIs {
		names = append(names, uri.String())
	}
	return names
}

func (a Access) ofName(name string) Role { return min(a.OfName[name], Operator) }

var apiPrefix = "/" + bhnodev1.Node_ServiceDesc.ServiceName + "/"

// takes is the role that each call of the API takes. One that is missing takes an admin.
var takes = map[string]Role{
	bhnodev1.Node_GetNode_FullMethodName:          Viewer,
	bhnodev1.Node_GetStatus_FullMethodName:        Viewer,
	bhnodev1.Node_WatchStatus_FullMethodName:      Viewer,
	bhnodev1.Node_GetTree_FullMethodName:          Viewer,
	bhnodev1.Node_StreamLogs_FullMethodName:       Viewer,
	bhnodev1.Node_StreamEvents_FullMethodName:     Viewer,
	bhnodev1.Node_StartServices_FullMethodName:    Operator,
	bhnodev1.Node_StopServices_FullMethodName:     Operator,
	bhnodev1.Node_RestartServices_FullMethodName:  Operator,
	bhnodev1.Node_PauseSupervisor_FullMethodName:  Operator,
	bhnodev1.Node_ResumeSupervisor_FullMethodName: Operator,
	bhnodev1.Node_SignalService_FullMethodName:    Operator,
	bhnodev1.Node_DebugService_FullMethodName:     Operator,
	bhnodev1.Node_ProfileService_FullMethodName:   Operator,
	bhnodev1.Node_Shutdown_FullMethodName:         Admin,
	bhnodev1.Node_Upgrade_FullMethodName:          Admin,
	bhnodev1.Node_Reload_FullMethodName:           Admin,
	bhnodev1.Node_AbandonReload_FullMethodName:    Admin,
	bhnodev1.Node_ReportRejections_FullMethodName: Admin,
}

// admit refuses a call that takes more than its peer may do.
func admit(ctx context.Context, method string) error {
	info, ok := peerOf(ctx)
	if !ok {
		return status.Error(codes.PermissionDenied, "nobody may control this node unseen")
	}
	needed := Viewer // health and reflection
	if call, ours := strings.CutPrefix(method, apiPrefix); ours {
		if needed, ok = takes[method]; !ok {
			needed = Admin
		}
		method = call
	}
	switch {
	case info.role >= needed:
		return nil
	case info.role == Nobody:
		return status.Errorf(codes.PermissionDenied, "%s may not control this node", info.who)
	case needed == Admin && info.remote:
		return status.Errorf(codes.PermissionDenied, "%s comes from another machine, and %s takes an admin on the control socket", info.who, method)
	}
	return status.Errorf(codes.PermissionDenied, "%s is %s, and %s takes %s", info.who, a(info.role), method, a(needed))
}

func a(r Role) string {
	if r == Viewer {
		return "a " + r.String()
	}
	return "an " + r.String()
}

// peerOf is who calls.
func peerOf(ctx context.Context) (peerInfo, bool) {
	p, ok := peer.FromContext(ctx)
	if !ok {
		return peerInfo{}, false
	}
	info, ok := p.AuthInfo.(peerInfo)
	return represented(ctx, info), ok
}

// who is the caller, for the journal.
func who(ctx context.Context) string {
	info, ok := peerOf(ctx)
	switch {
	case !ok:
		return "unknown"
	case info.remote:
		return fmt.Sprintf("%s from %s", info.who, info.from)
	}
	return info.who
}
