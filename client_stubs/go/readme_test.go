package socketbroker_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"os"
	"regexp"
	"strings"
	"testing"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

// What the README shows is here, where it is compiled.
func TestTheReadmeCompiles(t *testing.T) {
	plain := func(file string) string {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return regexp.MustCompile(`(?m)^\t+`).ReplaceAllString(string(text), "")
	}
	here := plain("readme_test.go")
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(plain("README.md"), -1)
	if len(blocks) < 7 {
		t.Errorf("found %d blocks", len(blocks))
	}
	for _, block := range blocks {
		if !strings.Contains(here, block[1]) {
			t.Errorf("this is in the README, but not here:\n%s", block[1])
		}
	}
}

type session struct{ account, hash string }

func lookUp(ctx context.Context, cookie string) (*session, error) { return nil, ctx.Err() }

func sessionCookie(*pb.Handshake) string { return "" }

type order struct{ Amount int }

func store(context.Context, string, order) (any, error) { return nil, nil }

func _() error {
	client, err := socketbroker.NewClient("127.0.0.1:50051", socketbroker.ClientOptions{})
	_ = client
	return err
}

func _(ctx context.Context, client *socketbroker.Client, cookie string) error {
	ticket, err := client.CreateTicketVerified(ctx, &pb.CreateTicketRequest{},
		func(ctx context.Context) (*pb.Identity, error) {
			session, err := lookUp(ctx, cookie) // in the call, and not from a cache
			if err != nil {
				return nil, err
			}
			return &pb.Identity{AccountId: &session.account, TokenHash: &session.hash}, nil
		})
	_ = ticket
	return err
}

func _(ctx context.Context, client *socketbroker.Client, hash string) {
	_, err := client.CloseSocketsForSession(ctx, &pb.CloseSocketsForSessionRequest{TokenHash: &hash})
	var failed *socketbroker.Error
	if errors.As(err, &failed) {
		log.Print(failed.Code, failed.Reason, failed.Violations)
	}
}

func _() (*socketbroker.Client, error) {
	transport, err := socketbroker.TLSFromFiles(socketbroker.TLSFiles{CA: "ca.pem"}) // and, for mTLS, Certificate and PrivateKey
	if err != nil {
		return nil, err
	}
	return socketbroker.NewClient("broker:50051", socketbroker.ClientOptions{
		Credentials: transport,
		APIKey:      os.Getenv("SOCKET_BROKER_API_KEY"),
	})
}

func _(ctx context.Context, client *socketbroker.Client, requests []*pb.PublishRequest) error {
	publish, err := client.Publish(ctx)
	if err != nil {
		return err
	}
	go func() {
		for _, request := range requests { // of *pb.PublishRequest
			if publish.Send(request) != nil {
				return // Recv says why
			}
		}
		_ = publish.CloseSend()
	}()
	for {
		response, err := publish.Recv()
		if err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		for _, result := range response.GetResults() {
			if failed := result.GetError(); failed != nil {
				log.Print(socketbroker.FromPublishError(failed))
			}
		}
	}
}

func _(ctx context.Context, client *socketbroker.Client) error {
	service := socketbroker.NewService(client, socketbroker.ServiceOptions{})
	service.On("orders.create", func(ctx context.Context, request *socketbroker.Request) (any, error) {
		var order order
		if err := request.Decode(&order); err != nil {
			return nil, err
		}
		if order.Amount <= 0 {
			return nil, &socketbroker.JSONRPCError{Code: -32602, Message: "amount must be positive"}
		}
		return store(ctx, request.Identity.GetAccountId(), order)
	})
	err := service.Run(ctx)
	return err
}

func _(client *socketbroker.Client, service *socketbroker.Service) {
	service.OnHandshake(func(ctx context.Context, handshake *pb.Handshake) (*pb.Identity, error) {
		session, err := lookUp(ctx, sessionCookie(handshake))
		if err != nil {
			return nil, &socketbroker.Refusal{Reason: "log in first"}
		}
		return &pb.Identity{AccountId: &session.account, TokenHash: &session.hash}, nil
	})
	service.On("pay", func(ctx context.Context, request *socketbroker.Request) (any, error) {
		response, err := client.RequestConnection(ctx, &pb.RequestConnectionRequest{
			ConnectionId: request.ConnectionID, Method: "confirm", WantJson: true,
		})
		if err != nil {
			return nil, err
		}
		if response.GetReply().GetErrorJson() != "" {
			return nil, &socketbroker.JSONRPCError{Code: 1, Message: "not confirmed"}
		}
		return json.RawMessage(response.GetReply().GetResultJson()), nil
	})
}
