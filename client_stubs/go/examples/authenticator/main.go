// Authenticator is an application that the broker asks about handshakes: the
// way CALLOUT.
//
//	go run ./examples/authenticator -key-file broker.key sessions.json
//
// A client is known by its cookie "session", and sessions.json says whose it is:
//
//	{"the cookie's value": {"account": "alice", "plan": "pro"}}
//
// A real one asks its database instead, in the call and not from a cache.
package main

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"flag"
	"fmt"
	"log"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	pb "socketbroker.dev/go/socketbrokerv1"
)

type authenticator struct {
	pb.UnimplementedConnectAuthenticatorServer
	sessions string // the file
	key      string // of the broker; empty: anybody may ask
}

type session struct {
	Account   string `json:"account"`
	Plan      string `json:"plan"`
	Suspended bool   `json:"suspended"`
}

func refuse(httpStatus int32, reason string) (*pb.AuthenticateResponse, error) {
	return &pb.AuthenticateResponse{Result: &pb.AuthenticateResponse_Refusal{
		Refusal: &pb.HandshakeRefusal{HttpStatus: httpStatus, Reason: reason},
	}}, nil
}

func (a *authenticator) Authenticate(ctx context.Context, request *pb.AuthenticateRequest) (*pb.AuthenticateResponse, error) {
	if err := a.checkCaller(ctx); err != nil {
		return nil, err
	}
	var shown []string
	for _, cookie := range request.GetHandshake().GetCookies() {
		if cookie.GetName() == "session" {
			shown = append(shown, cookie.GetValue())
		}
	}
	// Two of them: somebody may have planted one.
	if len(shown) != 1 {
		return refuse(401, "log in first")
	}
	text, err := os.ReadFile(a.sessions)
	if err != nil {
		return nil, err
	}
	sessions := map[string]session{}
	if err := json.Unmarshal(text, &sessions); err != nil {
		return nil, err
	}
	found, is := sessions[shown[0]]
	if !is {
		return refuse(401, "log in first")
	}
	if found.Suspended {
		return refuse(403, "this account is suspended")
	}
	// The hash, so that the broker never knows the session itself.
	sum := sha256.Sum256([]byte(shown[0]))
	hash := hex.EncodeToString(sum[:])
	identity := &pb.Identity{AccountId: &found.Account, TokenHash: &hash}
	if found.Plan != "" {
		identity.Labels = map[string]string{"plan": found.Plan}
	}
	return &pb.AuthenticateResponse{Result: &pb.AuthenticateResponse_Identity{Identity: identity}}, nil
}

func (a *authenticator) checkCaller(ctx context.Context) error {
	if a.key == "" {
		return nil
	}
	shown, _ := metadata.FromIncomingContext(ctx)
	got := strings.Join(shown.Get("authorization"), ",")
	if subtle.ConstantTimeCompare([]byte(got), []byte("Bearer "+a.key)) != 1 {
		return status.Error(codes.Unauthenticated, "this is for the broker")
	}
	return nil
}

func main() {
	port := flag.Int("port", 50061, "where to listen, on 127.0.0.1; 0: on any port")
	keyFile := flag.String("key-file", "", "a file with the key that the broker shows")
	flag.Parse()
	if flag.NArg() != 1 {
		log.Fatal("usage: authenticator [-port N] [-key-file FILE] SESSIONS")
	}
	application := &authenticator{sessions: flag.Arg(0)}
	if *keyFile != "" {
		key, err := os.ReadFile(*keyFile)
		if err != nil {
			log.Fatal(err)
		}
		application.key = strings.TrimSpace(string(key))
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", *port))
	if err != nil {
		log.Fatal(err)
	}
	server := grpc.NewServer()
	pb.RegisterConnectAuthenticatorServer(server, application)
	fmt.Printf("listening on %s\n", listener.Addr())
	log.Fatal(server.Serve(listener))
}
