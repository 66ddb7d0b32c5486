package integration

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/gorilla/websocket"

	socketbroker "socketbroker.dev/go"
)

// start builds an example and runs it. Its output comes line by line.
func start(t *testing.T, example string, arguments ...string) (*exec.Cmd, chan string) {
	t.Helper()
	binary := t.TempDir() + "/" + example
	output, err := exec.Command("go", "build", "-race", "-o", binary, "socketbroker.dev/go/examples/"+example).CombinedOutput()
	if err != nil {
		t.Fatalf("go build: %v\n%s", err, output)
	}
	process := exec.Command(binary, arguments...)
	reader, writer, err := os.Pipe()
	must(t, err)
	process.Stdout, process.Stderr = writer, writer
	must(t, process.Start())
	writer.Close()
	lines := make(chan string, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for scanner := bufio.NewScanner(reader); scanner.Scan(); {
			lines <- scanner.Text()
		}
	}()
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
		<-done
	})
	return process, lines
}

func wantsLine(t *testing.T, lines chan string, text string) string {
	t.Helper()
	for {
		if line := receive(t, lines, text); strings.Contains(line, text) {
			return line
		}
	}
}

func TestTheServiceOfTheExamples(t *testing.T) {
	b := startBroker(t, nil)
	process, lines := start(t, "sums", "-broker", b.control)
	wantsLine(t, lines, "attached")
	alice := b.join(t, b.client(t, socketbroker.ClientOptions{}), "alice")
	alice.send(`{"jsonrpc": "2.0", "id": 1, "method": "sum", "params": [1, 2]}`)
	alice.wants(`{"jsonrpc":"2.0","method":"progress","params":{"done":1,"of":2}}`)
	alice.wants(`{"jsonrpc":"2.0","method":"progress","params":{"done":2,"of":2}}`)
	alice.wants(`{"jsonrpc":"2.0","id":1,"result":{"sum":3,"for":"alice"}}`)
	alice.send(`{"jsonrpc":"2.0","id":2,"method":"sum","params":{}}`)
	alice.wants(`{"jsonrpc":"2.0","id":2,"error":{"code":-32602,"message":"Invalid params"}}`)
	alice.send(`{"jsonrpc":"2.0","id":3,"method":"sum"}`)
	alice.wants(`{"jsonrpc":"2.0","id":3,"error":{"code":-32602,"message":"sum needs a list of numbers"}}`)
	must(t, alice.WriteMessage(websocket.CloseMessage, websocket.FormatCloseMessage(1000, "")))
	wantsLine(t, lines, "alice is gone: 1000")
	must(t, process.Process.Signal(syscall.SIGTERM))
	if err := process.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestTheAuthenticatorOfTheExamples(t *testing.T) {
	folder := t.TempDir()
	key, sessions := folder+"/key", folder+"/sessions.json"
	must(t, os.WriteFile(key, []byte("k1\n"), 0o600))
	must(t, os.WriteFile(sessions, []byte(`{"c1": {"account": "alice", "plan": "pro"}, "c2": {"account": "a", "suspended": true}}`), 0o600))
	_, lines := start(t, "authenticator", "-port", "0", "-key-file", key, sessions)
	line := wantsLine(t, lines, "listening on ")
	configuration := func(more map[string]any) map[string]any {
		callout := map[string]any{"target": strings.TrimPrefix(line, "listening on ")}
		for name, value := range more {
			callout[name] = value
		}
		return map[string]any{
			"endpoints": []any{map[string]any{"path": "/ws", "ways": []string{"CALLOUT"}}}, "callout": callout,
		}
	}
	b := startBroker(t, configuration(map[string]any{"key_file": key}))
	b.connect(t, "/ws", http.Header{"Cookie": {"session=c1"}})
	refused := func(b *broker, cookie string, want int) {
		t.Helper()
		_, response, err := websocket.DefaultDialer.Dial("ws://"+b.websocket+"/ws", http.Header{"Cookie": {cookie}})
		if err == nil || response == nil || response.StatusCode != want {
			t.Errorf("%s: got %v, want %d", cookie, err, want)
		}
	}
	refused(b, "session=c3", 401)
	refused(b, "session=c1; session=c1", 401)
	refused(b, "session=c2", 403)
	refused(startBroker(t, configuration(nil)), "session=c1", 503) // it shows no key
}
