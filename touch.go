package godwit

import (
	"cmp"
	"sync"
	"sync/atomic"

	"github.com/godwit-llm/godwit/internal/mmap"
	"github.com/godwit-llm/godwit/internal/model"
)

// touch brings mapped weights into memory and tells of the progress: the first
// steps would wait for them otherwise. Weights that do not fit stay where they
// are. It fails if a part of them cannot be read.
func touch(a *model.Account, p Plan, threads int, opts Options) error {
	if p.Free > 0 && p.Weights > p.Free {
		return nil
	}
	const page, piece = 4096, 16 << 20
	var pieces [][]byte
	for _, u := range a.Usage {
		for data := u.Tensor.Bytes(); len(data) > 0; data = data[min(piece, len(data)):] {
			pieces = append(pieces, data[:min(piece, len(data))])
		}
	}
	var next, done, sink atomic.Int64
	var telling sync.Mutex
	var readers sync.WaitGroup
	faults := make([]error, threads)
	for r := range threads {
		readers.Go(func() {
			faults[r] = mmap.Guard(func() {
				for i := next.Add(1); i <= int64(len(pieces)); i = next.Add(1) {
					data := pieces[i-1]
					sum := int64(0)
					for at := 0; at < len(data); at += page {
						sum += int64(data[at])
					}
					sink.Add(sum) // so that the reads are not optimised away
					telling.Lock()
					opts.event(Event{Kind: Progress, Done: done.Add(int64(len(data))), Total: p.Weights})
					telling.Unlock()
				}
			})
		})
	}
	readers.Wait()
	return cmp.Or(faults...)
}
