package socketbroker

import (
	"sync"

	pb "socketbroker.dev/go/socketbrokerv1"
)

// What credit is for.
type kind int

const (
	messages kind = iota
	handshakes
	events
	kinds
)

// How much of one kind the broker may still tell, and how much of what it told
// is not done yet. Together never more than most.
type credit struct{ most, left, busy int }

// Not before half of it is used up, so that it is given in few portions. Then
// once that makes half again or, when nothing else is to be said, whatever there
// is: what is busy for long must not keep back what is not.
func (c *credit) due(idle bool) int {
	half := c.most / 2
	free := c.most - c.left - c.busy
	if free <= 0 || c.left > half || (!idle && free < half) {
		return 0
	}
	return free
}

// The credit of a service. It outlives its streams, as its handlers do.
type ledger struct {
	news chan struct{} // something may be due

	mutex  sync.Mutex
	credit [kinds]credit
}

func newLedger(most [kinds]int) *ledger {
	result := &ledger{news: make(chan struct{}, 1)}
	for k := range most {
		result.credit[k].most = most[k]
	}
	return result
}

// start is the first credit of a new stream.
func (l *ledger) start() *pb.AttachCredit {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var given [kinds]int
	for k := range l.credit {
		c := &l.credit[k]
		c.left = c.most - c.busy
		given[k] = c.left
	}
	return toProto(given)
}

// told says that the broker has told something.
func (l *ledger) told(k kind) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.credit[k].left--
	l.credit[k].busy++
}

// done says that something that was told is done.
func (l *ledger) done(k kind) {
	l.mutex.Lock()
	l.credit[k].busy--
	l.mutex.Unlock()
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// take returns what is to be given now, nil for none. Idle: nothing else is to
// be said.
func (l *ledger) take(idle bool) *pb.AttachCredit {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	var given [kinds]int
	for k := range l.credit {
		given[k] = l.credit[k].due(idle)
		l.credit[k].left += given[k]
	}
	if given == [kinds]int{} {
		return nil
	}
	return toProto(given)
}

func toProto(given [kinds]int) *pb.AttachCredit {
	return &pb.AttachCredit{
		Messages:   uint32(given[messages]),
		Handshakes: uint32(given[handshakes]),
		Events:     uint32(given[events]),
	}
}
