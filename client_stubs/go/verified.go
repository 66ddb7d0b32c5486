package socketbroker

import (
	"context"
	"errors"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// Verify looks up the credential that somebody presented, and returns whom it
// belongs to. Its error ends the call, which returns it: nothing is bound. It
// runs once or twice, and must not answer from a cache or from a replica that
// lags behind.
type Verify func(ctx context.Context) (*pb.Identity, error)

// CreateTicketVerified is CreateTicket for a credential that verify looks up.
//
// The epoch is taken before verify is called, so that a revocation that comes
// after the look-up refuses the binding. When one has (CREDENTIAL_REVOKED), or
// the epoch is too old for the broker to judge (EPOCH_TOO_OLD) or another
// broker's that was here before (EPOCH_AHEAD), the epoch is read anew, verify
// called again, and the call made once more.
//
// The request's identity and verified_at_epoch are ignored. Without a deadline
// of the context each call has the client's timeout.
func (c *Client) CreateTicketVerified(ctx context.Context, request *pb.CreateTicketRequest, verify Verify,
	options ...grpc.CallOption) (*pb.CreateTicketResponse, error) {
	request = copied(request)
	var response *pb.CreateTicketResponse
	err := c.bind(ctx, verify, func(identity *pb.Identity, epoch uint64) (err error) {
		request.Identity, request.VerifiedAtEpoch = identity, &epoch
		response, err = c.CreateTicket(ctx, request, options...)
		return err
	})
	return response, err
}

// AddConnectionVerified is AddConnection under the rule of CreateTicketVerified.
func (c *Client) AddConnectionVerified(ctx context.Context, request *pb.AddConnectionRequest, verify Verify,
	options ...grpc.CallOption) (*pb.AddConnectionResponse, error) {
	request = copied(request)
	var response *pb.AddConnectionResponse
	err := c.bind(ctx, verify, func(identity *pb.Identity, epoch uint64) (err error) {
		request.Identity, request.VerifiedAtEpoch = identity, &epoch
		response, err = c.AddConnection(ctx, request, options...)
		return err
	})
	return response, err
}

func (c *Client) bind(ctx context.Context, verify Verify, call func(*pb.Identity, uint64) error) error {
	// Before the look-up: a revocation that comes later is then newer.
	epoch := c.NewestEpoch()
	if epoch == 0 {
		var err error
		if epoch, err = c.readEpoch(ctx); err != nil {
			return err
		}
	}
	for last := false; ; last = true {
		identity, err := verify(ctx)
		if err != nil {
			return err
		}
		if identity == nil {
			return errors.New("verify returned neither an identity nor an error")
		}
		err = call(identity, epoch)
		outdated := hasReason(err, "CREDENTIAL_REVOKED") || hasReason(err, "EPOCH_TOO_OLD") ||
			hasReason(err, "EPOCH_AHEAD")
		if last || !outdated {
			return err
		}
		if epoch, err = c.readEpoch(ctx); err != nil {
			return err
		}
	}
}

func (c *Client) readEpoch(ctx context.Context) (uint64, error) {
	info, err := c.GetBrokerInfo(ctx, &pb.GetBrokerInfoRequest{})
	return info.GetEpoch(), err
}

// The caller's request stays as it is.
func copied[M proto.Message](request M) M { return proto.Clone(request).(M) }
