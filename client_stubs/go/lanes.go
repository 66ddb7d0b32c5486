package socketbroker

import "sync"

// Tasks that run one after another when they have the same key, and beside each
// other when they have not.
type lanes struct {
	mutex   sync.Mutex
	waiting map[string][]func() // by key, of those that have a task running
}

func (l *lanes) do(key string, task func()) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	if waiting, running := l.waiting[key]; running {
		l.waiting[key] = append(waiting, task)
		return
	}
	if l.waiting == nil {
		l.waiting = map[string][]func(){}
	}
	l.waiting[key] = nil
	go l.run(key, task)
}

func (l *lanes) run(key string, task func()) {
	for task != nil {
		task()
		task = l.next(key)
	}
}

func (l *lanes) next(key string) func() {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	waiting := l.waiting[key]
	if len(waiting) == 0 {
		delete(l.waiting, key)
		return nil
	}
	l.waiting[key] = waiting[1:]
	return waiting[0]
}
