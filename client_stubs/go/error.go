package socketbroker

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	pb "socketbroker.dev/go/socketbrokerv1"
)

const domain = "socketbroker"

// Error is a call that failed. Get it by errors.As; status.FromError and
// status.Code of gRPC understand it, too.
type Error struct {
	// The code, such as codes.NotFound.
	Code codes.Code
	// A sentence for a developer.
	Message string
	// A constant such as "CREDENTIAL_REVOKED". Empty: the error has none, or is
	// not the broker's own.
	Reason string
	// More facts that belong to the reason.
	Metadata map[string]string
	// Every wrong field of the request that the broker found.
	Violations []FieldViolation

	status *status.Status
}

// FieldViolation is a wrong field of a request.
type FieldViolation struct {
	// Its path, such as "identity.account_id".
	Field string
	// What is wrong with it.
	Description string
}

// Error is the code, the message and, when there is one, the reason.
func (e *Error) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s", e.Code, e.Message)
	if e.Reason != "" {
		fmt.Fprintf(&text, " (%s)", e.Reason)
	}
	for _, violation := range e.Violations {
		fmt.Fprintf(&text, "; %s: %s", violation.Field, violation.Description)
	}
	return text.String()
}

// GRPCStatus is the error as gRPC has it.
func (e *Error) GRPCStatus() *status.Status {
	if e.status == nil {
		return status.New(e.Code, e.Message)
	}
	return e.status
}

// FromPublishError is the error of an item of Publish: what the call of its own
// would have returned.
func FromPublishError(failed *pb.PublishError) *Error {
	return fromStatus(status.FromProto(&statuspb.Status{
		Code: failed.GetCode(), Message: failed.GetMessage(), Details: failed.GetDetails(),
	}))
}

// Whether it is an Error with this reason.
func hasReason(err error, reason string) bool {
	var failed *Error
	return errors.As(err, &failed) && failed.Reason == reason
}

// An error of gRPC as ours. io.EOF, and what is ours already, stays as it is.
func fromRPC(err error) error {
	var ours *Error
	if err == nil || err == io.EOF || errors.As(err, &ours) {
		return err
	}
	return fromStatus(status.Convert(err))
}

// Details that cannot be read are left out.
func fromStatus(from *status.Status) *Error {
	result := &Error{Code: from.Code(), Message: from.Message(), status: from}
	for _, detail := range from.Details() {
		switch detail := detail.(type) {
		case *errdetails.ErrorInfo:
			if detail.GetDomain() == domain {
				result.Reason, result.Metadata = detail.GetReason(), detail.GetMetadata()
			}
		case *errdetails.BadRequest:
			for _, violation := range detail.GetFieldViolations() {
				result.Violations = append(result.Violations,
					FieldViolation{violation.GetField(), violation.GetDescription()})
			}
		}
	}
	return result
}
