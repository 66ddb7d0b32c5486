// Sums is a service that clients ask for sums. With the broker of tools/run:
//
//	go run ./examples/sums
//
// A client that has a ticket sends
//
//	{"jsonrpc": "2.0", "id": 1, "method": "sum", "params": [1, 2]}
//
// and gets two notifications "progress" and {"sum": 3, "for": "alice"}.
package main

import (
	"context"
	"flag"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	socketbroker "socketbroker.dev/go"
	pb "socketbroker.dev/go/socketbrokerv1"
)

type progress struct {
	Done int `json:"done"`
	Of   int `json:"of"`
}

type answer struct {
	Sum float64 `json:"sum"`
	For string  `json:"for"`
}

func sum(ctx context.Context, request *socketbroker.Request) (any, error) {
	var numbers []float64
	if err := request.Decode(&numbers); err != nil {
		return nil, err
	}
	if len(numbers) == 0 {
		return nil, &socketbroker.JSONRPCError{Code: -32602, Message: "sum needs a list of numbers"}
	}
	result := answer{For: request.Identity.GetAccountId()}
	for done, number := range numbers {
		if ctx.Err() != nil { // the client has cancelled it, or is gone
			return nil, ctx.Err()
		}
		result.Sum += number
		// It arrives before the reply.
		if err := request.Notify("progress", progress{done + 1, len(numbers)}); err != nil {
			return nil, err
		}
	}
	return result, nil
}

func main() {
	target := flag.String("broker", "127.0.0.1:50051", "the broker's gRPC address")
	flag.Parse()
	client, err := socketbroker.NewClient(*target, socketbroker.ClientOptions{
		APIKey: os.Getenv("SOCKET_BROKER_API_KEY"),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	service := socketbroker.NewService(client, socketbroker.ServiceOptions{})
	service.On("sum", sum)
	service.OnClosed(func(_ context.Context, closed *pb.ConnectionClosed) {
		log.Printf("%s is gone: %d", closed.GetConnection().GetIdentity().GetAccountId(), closed.GetCode())
	})

	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-signals
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		_ = service.Drain(ctx)
	}()
	if err := service.Run(context.Background()); err != nil {
		log.Fatal(err)
	}
}
