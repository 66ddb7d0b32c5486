// Package integration has the Go client and its services talk to the real
// daemon, BROKER_BINARY. Each test has a broker of its own.
package integration

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"google.golang.org/protobuf/proto"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

// How long anything may take that is expected to happen.
const patience = 15 * time.Second

type broker struct {
	websocket, control string

	process *exec.Cmd
	exited  chan struct{}
}

// startBroker starts one that ends with the test, and must end well. The
// configuration is any value that becomes JSON, which is YAML, or nil.
func startBroker(t *testing.T, config any) *broker {
	t.Helper()
	b := &broker{exited: make(chan struct{})}
	arguments := []string{"--websocket-port", "0", "--control-port", "0", "--admin-port", "0"}
	if config != nil {
		text, err := json.Marshal(config)
		must(t, err)
		file := t.TempDir() + "/broker.yaml"
		must(t, os.WriteFile(file, text, 0o600))
		arguments = append(arguments, "--config", file)
	}
	binary := os.Getenv("BROKER_BINARY")
	if binary == "" {
		t.Fatal("BROKER_BINARY is not set: it is the daemon to test with")
	}
	b.process = exec.Command(binary, arguments...)
	log, err := b.process.StderrPipe()
	must(t, err)
	must(t, b.process.Start())
	started := make(chan map[string]any, 1)
	go func() {
		defer close(b.exited)
		defer close(started)
		lines := bufio.NewScanner(log)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			var line map[string]any
			if json.Unmarshal(lines.Bytes(), &line) == nil && line["event"] == "started" {
				started <- line
			}
		}
		_ = b.process.Wait()
	}()
	t.Cleanup(func() { b.stop(t) })
	line := receive(t, started, "the broker's start")
	if line == nil {
		t.Fatal("the broker does not start")
	}
	b.websocket, b.control = line["websocket_address"].(string), line["control_address"].(string)
	return b
}

// stop ends it as an operator would.
func (b *broker) stop(t *testing.T) {
	t.Helper()
	_ = b.process.Process.Signal(syscall.SIGTERM)
	select {
	case <-b.exited:
	case <-time.After(patience):
		_ = b.process.Process.Kill()
		<-b.exited
	}
	if code := b.process.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the broker ended with %d", code)
	}
}

func (b *broker) client(t *testing.T, options socketbroker.ClientOptions) *socketbroker.Client {
	t.Helper()
	client, err := socketbroker.NewClient(b.control, options)
	must(t, err)
	t.Cleanup(func() { client.Close() })
	return client
}

// A client of the application.
type socket struct {
	*websocket.Conn
	t *testing.T
}

// join connects with a ticket for the account.
func (b *broker) join(t *testing.T, client *socketbroker.Client, account string) *socket {
	t.Helper()
	ticket, err := client.CreateTicketVerified(context.Background(), &pb.CreateTicketRequest{}, is(account))
	must(t, err)
	return b.connect(t, "/ws", http.Header{"Sec-WebSocket-Protocol": {"socketbroker.v1, ticket." + ticket.GetTicket()}})
}

func is(account string) socketbroker.Verify {
	return func(context.Context) (*pb.Identity, error) { return identity(account), nil }
}

func identity(account string) *pb.Identity {
	return &pb.Identity{AccountId: proto.String(account), TokenHash: proto.String("session of " + account)}
}

func (b *broker) connect(t *testing.T, path string, header http.Header) *socket {
	t.Helper()
	dialer := websocket.Dialer{HandshakeTimeout: patience}
	conn, _, err := dialer.Dial("ws://"+b.websocket+path, header)
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	must(t, conn.SetReadDeadline(time.Now().Add(patience)))
	return &socket{conn, t}
}

func (s *socket) send(format string, arguments ...any) {
	s.t.Helper()
	must(s.t, s.WriteMessage(websocket.TextMessage, []byte(fmt.Sprintf(format, arguments...))))
}

// wants reads a message, which must be this text.
func (s *socket) wants(text string) {
	s.t.Helper()
	_, got, err := s.ReadMessage()
	must(s.t, err)
	if string(got) != text {
		s.t.Fatalf("received %s, want %s", got, text)
	}
}

// wantsClosed reads the end, which must have this code.
func (s *socket) wantsClosed(code int) {
	s.t.Helper()
	_, got, err := s.ReadMessage()
	if !websocket.IsCloseError(err, code) {
		s.t.Fatalf("received %s, %v; want to be closed with %d", got, err, code)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case got := <-from:
		return got
	case <-time.After(patience):
		t.Fatalf("waited %v for %s", patience, what)
		panic("not reached")
	}
}
