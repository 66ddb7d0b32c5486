package socketbroker

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	pb "socketbroker.dev/go/socketbrokerv1"
)

const (
	// So deep may params and a result be, and the data of an error.
	maxLevels      = 31
	maxDataLevels  = 30
	maxMethodBytes = 256
	// The most that an endpoint can allow. What is longer reaches no client, and far
	// longer ones would end the stream.
	maxMessageBytes = 3 << 20

	codeInvalidParams = -32602
	codeInternal      = -32603
)

// JSONRPCError is what a handler returns to answer a request with an error;
// errors.As finds it in what it is wrapped in. The client sees all of it.
type JSONRPCError struct {
	// Says what kind of error it is. JSON-RPC 2.0 keeps -32768 to -32000 to itself.
	Code int64
	// One sentence for people.
	Message string
	// Any value that encoding/json takes, at most 30 levels deep, to say more. Nil:
	// the error has no data.
	Data any
}

// Error is the code and the message.
func (e *JSONRPCError) Error() string { return fmt.Sprintf("%d: %s", e.Code, e.Message) }

func (e *JSONRPCError) toProto() (*pb.JsonRpcError, error) {
	if e == nil {
		return nil, errors.New("the error is a nil *JSONRPCError, which is not nil as an error")
	}
	result := &pb.JsonRpcError{Code: e.Code, Message: strings.ToValidUTF8(e.Message, "\ufffd")}
	if e.Data != nil {
		data, err := encode(e.Data, maxDataLevels)
		if err != nil {
			return nil, fmt.Errorf("the error's data: %w", err)
		}
		result.Data = &pb.JsonRpcError_DataJson{DataJson: data}
	}
	return result, nil
}

var internalError = &pb.JsonRpcError{Code: codeInternal, Message: "Internal error"}

// encode makes JSON text that the broker takes. Of one that it does not take only
// the broker's log would say why; so it is found here.
func encode(value any, levels int) ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err
	}
	result := bytes.TrimSuffix(text.Bytes(), []byte("\n"))
	if err := checkSize(len(result)); err != nil {
		return nil, fmt.Errorf("the JSON text has %w", err)
	}
	return result, check(result, levels)
}

func checkSize(bytes int) error {
	if bytes > maxMessageBytes {
		return fmt.Errorf("%d bytes, at most %d are allowed", bytes, maxMessageBytes)
	}
	return nil
}

// check takes valid JSON. It finds what encoding/json allows and the broker does
// not, which a json.RawMessage may have.
func check(text []byte, levels int) error {
	if !utf8.Valid(text) {
		return errors.New("the JSON text is not UTF-8")
	}
	if hasHalfPair(text) {
		return errors.New("the JSON text has half a surrogate pair, such as \\ud83d alone")
	}
	type container struct {
		keys    map[string]struct{} // nil in an array
		wantKey bool
	}
	var open []*container
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return err
		}
		if delimiter, is := token.(json.Delim); is && (delimiter == '{' || delimiter == '[') {
			if len(open) == levels {
				return fmt.Errorf("the JSON value has more than %d levels", levels)
			}
			opened := &container{}
			if delimiter == '{' {
				opened.keys, opened.wantKey = map[string]struct{}{}, true
			}
			open = append(open, opened)
			continue
		} else if is {
			open = open[:len(open)-1]
		} else if number, is := token.(json.Number); is {
			if _, err := strconv.ParseFloat(number.String(), 64); err != nil {
				return errors.New("a number of the JSON value is too large for a double")
			}
		} else if len(open) > 0 && open[len(open)-1].wantKey {
			inside, key := open[len(open)-1], token.(string)
			if _, twice := inside.keys[key]; twice {
				return fmt.Errorf("the JSON value has the key %q twice in one object", key)
			}
			inside.keys[key], inside.wantKey = struct{}{}, false
			continue
		}
		// A value has ended.
		if len(open) == 0 {
			return nil
		}
		inside := open[len(open)-1]
		inside.wantKey = inside.keys != nil
	}
}

func hasHalfPair(text []byte) bool {
	for {
		at := bytes.IndexByte(text, '\\')
		if at < 0 {
			return false
		}
		text = text[at:]
		first := escaped(text)
		if !utf16.IsSurrogate(first) {
			text = text[2:]
			continue
		}
		if utf16.DecodeRune(first, escaped(text[6:])) == utf8.RuneError {
			return true
		}
		text = text[12:]
	}
}

// escaped is the rune of the `\uXXXX` that the text begins with, else 0.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return 0
	}
	value, _ := strconv.ParseUint(string(text[2:6]), 16, 16)
	return rune(value)
}

// encodeParams returns nil when there are none.
func encodeParams(params any) ([]byte, error) {
	text, err := encode(params, maxLevels)
	if err != nil {
		return nil, fmt.Errorf("params: %w", err)
	}
	switch text[0] {
	case '{', '[':
		return text, nil
	case 'n':
		return nil, nil
	}
	return nil, fmt.Errorf("params are %s, but must be an object, an array or nil", text)
}

// checkMethod wants of a method what the broker wants of one for clients.
func checkMethod(method string) error {
	switch {
	case len(method) == 0 || len(method) > maxMethodBytes:
		return fmt.Errorf("the method has %d bytes, 1 to %d are allowed", len(method), maxMethodBytes)
	case !utf8.ValidString(method):
		return fmt.Errorf("the method %q is not UTF-8", method)
	case strings.HasPrefix(method, "rpc."):
		return fmt.Errorf("the method %q: names that begin with \"rpc.\" are reserved by JSON-RPC 2.0", method)
	}
	return nil
}
