package socketbroker

import (
	"context"
	"errors"
	"reflect"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/proto"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// A broker whose epoch is 20, and that refuses older ones so many times.
func revoking(t *testing.T, refused int, reason string) (*fakeBroker, *Client) {
	broker := startFakeBroker(t)
	var infos atomic.Uint64
	broker.on("GetBrokerInfo", func(proto.Message) (proto.Message, error) {
		return &pb.GetBrokerInfoResponse{Epoch: 10 * infos.Add(1)}, nil
	})
	var calls atomic.Int64
	answer := func(response proto.Message) func(proto.Message) (proto.Message, error) {
		return func(proto.Message) (proto.Message, error) {
			if calls.Add(1) <= int64(refused) {
				return nil, refusal(t, codes.FailedPrecondition, "no", reason)
			}
			return response, nil
		}
	}
	broker.on("CreateTicket", answer(&pb.CreateTicketResponse{Ticket: "t"}))
	broker.on("AddConnection", answer(&pb.AddConnectionResponse{Epoch: 21}))
	return broker, broker.client(t, ClientOptions{})
}

func TestVerifiedCallsTryOnceMore(t *testing.T) {
	for _, reason := range []string{"CREDENTIAL_REVOKED", "EPOCH_TOO_OLD"} {
		broker, client := revoking(t, 1, reason)
		var epochs []uint64 // at each look-up
		verify := func(context.Context) (*pb.Identity, error) {
			epochs = append(epochs, client.NewestEpoch())
			return &pb.Identity{AccountId: proto.String("a1")}, nil
		}
		request := &pb.CreateTicketRequest{AllowedOrigins: []string{"o"}}
		response, err := client.CreateTicketVerified(context.Background(), request, verify)
		if err != nil || response.Ticket != "t" {
			t.Fatal(response, err)
		}
		if !reflect.DeepEqual(epochs, []uint64{10, 20}) {
			t.Errorf("verified at %v", epochs)
		}
		for i, call := range broker.of("CreateTicket") {
			want := &pb.CreateTicketRequest{
				Identity: &pb.Identity{AccountId: proto.String("a1")}, VerifiedAtEpoch: &epochs[i], AllowedOrigins: []string{"o"},
			}
			if !proto.Equal(call.request, want) {
				t.Errorf("got %v, want %v", call.request, want)
			}
		}
		if request.Identity != nil {
			t.Error("the caller's request has changed")
		}
	}
}

func TestVerifiedCallsDoNotTryForEver(t *testing.T) {
	broker, client := revoking(t, 2, "CREDENTIAL_REVOKED")
	_, err := client.AddConnectionVerified(context.Background(), &pb.AddConnectionRequest{},
		func(context.Context) (*pb.Identity, error) { return &pb.Identity{}, nil })
	if failed := wantError(t, err, codes.FailedPrecondition); failed.Reason != "CREDENTIAL_REVOKED" {
		t.Error(failed)
	}
	if calls := len(broker.of("AddConnection")); calls != 2 {
		t.Errorf("%d calls", calls)
	}
	_, client = revoking(t, 1, "ALREADY_BOUND")
	_, err = client.AddConnectionVerified(context.Background(), &pb.AddConnectionRequest{},
		func(context.Context) (*pb.Identity, error) { return &pb.Identity{}, nil })
	if failed := wantError(t, err, codes.FailedPrecondition); failed.Reason != "ALREADY_BOUND" {
		t.Error(failed)
	}
}

func TestVerifiedCallsStopWhenTheLookUpFails(t *testing.T) {
	broker, client := revoking(t, 0, "")
	fault := errors.New("no such session")
	for _, verify := range []Verify{
		func(context.Context) (*pb.Identity, error) { return nil, fault },
		func(context.Context) (*pb.Identity, error) { return nil, nil },
	} {
		if _, err := client.CreateTicketVerified(context.Background(), &pb.CreateTicketRequest{}, verify); err == nil {
			t.Error("no error")
		}
	}
	if _, err := client.CreateTicketVerified(context.Background(), &pb.CreateTicketRequest{},
		func(context.Context) (*pb.Identity, error) { return nil, fault }); err != fault {
		t.Errorf("got %v", err)
	}
	if calls := len(broker.of("CreateTicket")); calls != 0 {
		t.Errorf("%d calls", calls)
	}
}

func TestVerifiedCallsTakeTheLowerEpochOfAnotherBroker(t *testing.T) {
	broker, client := revoking(t, 1, "EPOCH_AHEAD")
	broker.on("GetBrokerInfo", info(90))
	if err := getInfo(context.Background(), client); err != nil {
		t.Fatal(err)
	}
	broker.on("GetBrokerInfo", info(5))
	looks := 0
	verify := func(context.Context) (*pb.Identity, error) {
		looks++
		return &pb.Identity{AccountId: proto.String("a1")}, nil
	}
	if _, err := client.CreateTicketVerified(context.Background(), &pb.CreateTicketRequest{}, verify); err != nil {
		t.Fatal(err)
	}
	var epochs []uint64
	for _, call := range broker.of("CreateTicket") {
		epochs = append(epochs, call.request.(*pb.CreateTicketRequest).GetVerifiedAtEpoch())
	}
	if !reflect.DeepEqual(epochs, []uint64{90, 5}) || looks != 2 || client.NewestEpoch() != 5 {
		t.Errorf("bound at %v after %d looks, then %d", epochs, looks, client.NewestEpoch())
	}
}
