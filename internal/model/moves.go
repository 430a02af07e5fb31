package model

import "github.com/godwit-llm/godwit/internal/ops"

// CopyPage copies a page of the cache to another, in all attention layers. Like
// the other copies, it is made between steps.
func (m *Model) CopyPage(from, to int32) {
	for i := range m.memory.caches {
		for _, t := range m.memory.caches[i].Tensors() {
			rows := t.Rows / m.Limits.Pages
			m.backend.Copy(t, int(to)*rows, t, int(from)*rows, rows)
		}
	}
}

// CopyState copies a row of recurrent state to another, in all layers that have
// one: slots of sequences, and snapshots behind them.
func (m *Model) CopyState(from, to int32) { m.copyRow(m.memory.states, to, m.memory.states, from) }

// SaveState copies a row of recurrent state to one in host memory.
func (m *Model) SaveState(row, host int32) { m.copyRow(m.memory.host, host, m.memory.states, row) }

// LoadState copies a row in host memory to one of recurrent state.
func (m *Model) LoadState(host, row int32) { m.copyRow(m.memory.states, row, m.memory.host, host) }

func (m *Model) copyRow(dst []ops.Tensor, to int32, src []ops.Tensor, from int32) {
	for i := range dst {
		m.backend.Copy(dst[i], int(to), src[i], int(from), 1)
	}
}

// Recurrent reports whether sequences have a state besides their pages.
func (m *Model) Recurrent() bool { return len(m.memory.states) > 0 }
