package socketbroker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// What a close frame has room for.
const maxReasonBytes = 123

// Refusal is the error that a HandshakeHandler returns to refuse a client.
type Refusal struct {
	// Goes to the client in the close frame, with the code 4006; what goes over 123
	// bytes is cut off. Empty: "Not admitted".
	Reason string
}

// Error is the reason.
func (r *Refusal) Error() string {
	if r == nil {
		return "the error is a nil *Refusal, which is not nil as an error"
	}
	return fmt.Sprintf("refused: %q", r.Reason)
}

// HandshakeHandler judges a client that connects: it returns the identity of
// the client, which is then admitted, or a *Refusal. After any other error,
// which is logged, the client is offered again, to this or another service.
//
// It must look the credential up in the call, and not in a cache or a replica
// that lags behind: else a revocation can be missed. The context ends when the
// time to answer is over, 5 s unless the endpoint's offer_timeout is another.
type HandshakeHandler func(ctx context.Context, handshake *pb.Handshake) (*pb.Identity, error)

func (a *attachment) judge(offer *pb.HandshakeOffer) {
	identity, err := a.verdict(offer)
	if err == nil {
		_, err = a.service.client.AddConnection(a.handlers, &pb.AddConnectionRequest{
			ConnectionId: offer.GetConnectionId(), Identity: identity,
		})
	}
	var refusal *Refusal
	switch {
	case err == nil:
		return
	case errors.As(err, &refusal) && refusal != nil:
		a.refuse(offer, refusal.Reason)
		return
	case hasReason(err, "CREDENTIAL_REVOKED"):
		a.refuse(offer, "")
	}
	a.service.logf("connection %s is not bound: %v", offer.GetConnectionId(), err)
}

func (a *attachment) verdict(offer *pb.HandshakeOffer) (identity *pb.Identity, err error) {
	ctx := a.handlers
	if timeout := offer.GetTimeout(); timeout != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, timeout.AsDuration())
		defer cancel()
	}
	err = guard(func() error {
		identity, err = a.service.handshake(ctx, offer.GetHandshake())
		return err
	})
	if err == nil && identity == nil {
		err = errors.New("the handshake handler returned neither an identity nor an error")
	}
	return identity, err
}

// When the stream is over, so is the offer.
func (a *attachment) refuse(offer *pb.HandshakeOffer, reason string) {
	_ = a.say(&pb.AttachRequest{Message: &pb.AttachRequest_RefuseHandshake{
		RefuseHandshake: &pb.RefuseHandshake{OfferId: offer.GetOfferId(), Reason: closeReason(reason)},
	}})
}

func closeReason(reason string) string {
	reason = strings.ToValidUTF8(reason, "\ufffd")
	if len(reason) <= maxReasonBytes {
		return reason
	}
	end := maxReasonBytes
	for !utf8.RuneStart(reason[end]) {
		end--
	}
	return reason[:end]
}
