package integration

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

var ctx = context.Background()

func notification(method string) *pb.Message {
	return &pb.Message{Content: &pb.Message_Notification{Notification: &pb.JsonRpcNotification{Method: method}}}
}

func wantError(t *testing.T, err error, code codes.Code, reason string) *socketbroker.Error {
	t.Helper()
	var failed *socketbroker.Error
	if !errors.As(err, &failed) || failed.Code != code || failed.Reason != reason {
		t.Fatalf("got %v, want %v with reason %q", err, code, reason)
	}
	return failed
}

func TestFromATicketToARevocation(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	alice := b.join(t, client, "alice")
	b.join(t, client, "bob")
	count, err := client.CountConnections(ctx, &pb.CountConnectionsRequest{})
	must(t, err)
	if count.GetCount() != 2 {
		t.Errorf("%d connections", count.GetCount())
	}
	sent, err := client.SendToAccount(ctx, &pb.SendToAccountRequest{AccountId: proto.String("alice"), Message: notification("hello")})
	must(t, err)
	if sent.GetQueued() != 1 {
		t.Errorf("got %v", sent)
	}
	alice.wants(`{"jsonrpc":"2.0","method":"hello"}`)

	before := client.NewestEpoch()
	closed, err := client.CloseSocketsForAccount(ctx, &pb.CloseSocketsForAccountRequest{AccountId: proto.String("alice")})
	must(t, err)
	if closed.GetClosed() != 1 || client.NewestEpoch() != closed.GetEpoch() || closed.GetEpoch() <= before {
		t.Errorf("got %v, newest epoch %d", closed, client.NewestEpoch())
	}
	alice.wantsClosed(4001)
}

func TestARevocationDuringTheLookUp(t *testing.T) {
	b := startBroker(t, nil)
	client, other := b.client(t, socketbroker.ClientOptions{}), b.client(t, socketbroker.ClientOptions{})
	looked := 0
	ticket, err := client.CreateTicketVerified(ctx, &pb.CreateTicketRequest{}, func(ctx context.Context) (*pb.Identity, error) {
		if looked++; looked == 1 {
			_, err := other.CloseSocketsForAccount(ctx, &pb.CloseSocketsForAccountRequest{AccountId: proto.String("alice")})
			must(t, err)
		}
		return identity("alice"), nil
	})
	must(t, err)
	if looked != 2 || len(ticket.GetTicket()) != 43 {
		t.Errorf("looked up %d times, got %v", looked, ticket)
	}
}

func TestErrorsOfTheBroker(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	_, err := client.GetConnection(ctx, &pb.GetConnectionRequest{ConnectionId: "01a00000-0000-7000-8000-000000000000"})
	wantError(t, err, codes.NotFound, "CONNECTION_NOT_FOUND")
	_, err = client.BroadcastFiltered(ctx, &pb.BroadcastFilteredRequest{})
	var failed *socketbroker.Error
	if !errors.As(err, &failed) || failed.Code != codes.InvalidArgument || len(failed.Violations) == 0 {
		t.Errorf("got %v", err)
	}
}

func TestStreams(t *testing.T) {
	b := startBroker(t, nil)
	client := b.client(t, socketbroker.ClientOptions{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	watch, err := client.WatchConnections(ctx, &pb.WatchConnectionsRequest{})
	must(t, err)
	event, err := watch.Recv()
	must(t, err)
	if event.GetSnapshotEnd() == nil {
		t.Errorf("got %v", event)
	}
	alice := b.join(t, client, "alice")
	for event.GetAdded().GetIdentity().GetAccountId() != "alice" {
		event, err = watch.Recv()
		must(t, err)
	}

	publish, err := client.Publish(ctx)
	must(t, err)
	must(t, publish.Send(&pb.PublishRequest{Items: []*pb.PublishItem{
		{Operation: &pb.PublishItem_Send{Send: &pb.SendRequest{Message: notification("one")}}},
		{Operation: &pb.PublishItem_SendToConnection{SendToConnection: &pb.SendToConnectionRequest{
			ConnectionId: "01a00000-0000-7000-8000-000000000000", Message: notification("lost")}}},
		{Operation: &pb.PublishItem_Send{Send: &pb.SendRequest{Message: notification("two")}}},
	}}))
	must(t, publish.CloseSend())
	done, err := publish.Recv()
	must(t, err)
	results := done.GetResults()
	if len(results) != 3 || results[0].GetSend().GetQueued() != 1 || results[2].GetSend().GetQueued() != 1 {
		t.Fatalf("got %v", results)
	}
	wantError(t, socketbroker.FromPublishError(results[1].GetError()), codes.NotFound, "CONNECTION_NOT_FOUND")
	if _, err := publish.Recv(); err != io.EOF {
		t.Errorf("got %v", err)
	}
	alice.wants(`{"jsonrpc":"2.0","method":"one"}`)
	alice.wants(`{"jsonrpc":"2.0","method":"two"}`)
}

// The key of the one caller that the broker knows.
const secret = "sbk_the-key-of-go-canary"

func caller(roles ...string) map[string]any {
	return map[string]any{"name": "go", "key_hash": fmt.Sprintf("%x", sha256.Sum256([]byte(secret))), "roles": roles}
}

func TestTLSAndCallers(t *testing.T) {
	folder := t.TempDir()
	certificate, key := folder+"/broker.pem", folder+"/broker.key"
	output, err := exec.Command("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
		"-nodes", "-days", "1", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
		"-keyout", key, "-out", certificate).CombinedOutput()
	if err != nil {
		t.Fatalf("openssl: %v\n%s", err, output)
	}
	b := startBroker(t, map[string]any{"control": map[string]any{
		"tls":     map[string]any{"certificate_file": certificate, "private_key_file": key},
		"callers": []any{caller("READ")},
	}})
	transport, err := socketbroker.TLSFromFiles(socketbroker.TLSFiles{CA: certificate})
	must(t, err)
	client := b.client(t, socketbroker.ClientOptions{Credentials: transport, APIKey: secret})
	info, err := client.GetBrokerInfo(ctx, &pb.GetBrokerInfoRequest{})
	must(t, err)
	if !info.GetReady() {
		t.Errorf("got %v", info)
	}
	_, err = client.Send(ctx, &pb.SendRequest{Message: notification("m")})
	wantError(t, err, codes.PermissionDenied, "ROLE_MISSING")
	_, err = b.client(t, socketbroker.ClientOptions{Credentials: transport}).GetBrokerInfo(ctx, &pb.GetBrokerInfoRequest{})
	var failed *socketbroker.Error
	if !errors.As(err, &failed) || failed.Code != codes.Unauthenticated {
		t.Errorf("got %v", err)
	}
}
