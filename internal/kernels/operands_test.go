package kernels

import (
	"reflect"
	"testing"
	"unsafe"

	"github.com/godwit-llm/godwit/internal/ops"
)

// TestEveryOperandIsCompared notes operations of all kinds and changes their
// operands one by one: a step that differs in any of them is not the recorded
// one.
func TestEveryOperandIsCompared(t *testing.T) {
	seen := map[kind]bool{}
	for _, noted := range allKinds(t) {
		original := noted
		seen[original.kind] = true
		if !noted.same(&original) {
			t.Errorf("operation %d differs from itself", noted.kind)
		}
		changeEach(reflect.ValueOf(&noted).Elem(), "", func(operand string) {
			if noted.same(&original) || original.same(&noted) {
				t.Errorf("operation %d: another%s is not noticed", original.kind, operand)
			}
		})
	}
	for k := opNone + 1; k <= opMoE; k++ {
		if !seen[k] {
			t.Errorf("no operation of kind %d was noted", k)
		}
	}
}

// allKinds returns operations of every kind, all operands of which are there.
func allKinds(t *testing.T) []operation {
	m := newTiny(t, onFake(t, roomy(t), Options{Act: ops.BF16}), 3)
	m.addMamba(8, 64, 1, 128)
	moe, routes := m.mixture(t)
	moe.Shared = &ops.Shared{Up: m.matrix(48, tinyHidden), Down: m.matrix(tinyHidden, 48)}
	hidden := m.got(m.Activation(9, 48))
	m.middle = func(int) {
		n := len(m.batch.Tokens)
		m.Route(routes.Top(n), m.h.Top(n), moe.Router)
		m.Experts(m.x.Top(n), m.h.Top(n), routes.Top(n), moe.Experts, true)
		m.MoE(m.x.Top(n), m.h.Top(n), moe, routes.Top(n), hidden.Top(n)) // an operation of its own for one token
		m.Backend.mamba.most = mostMixed                                 // in the layers that follow, one kernel
	}
	var all []operation
	for i, tokens := range []int{3, 1} {
		for range 2 {
			m.Backend.mamba.most = 0
			m.step(tokens)
		}
		all = append(all, m.graphs.entries[i].notes...)
	}
	return all
}

// changeEach changes the values in v that are not zero, one at a time, and
// calls do for each with its name.
func changeEach(v reflect.Value, name string, do func(operand string)) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			changeEach(v.Field(i), name+" "+v.Type().Field(i).Name, do)
		}
		return
	case reflect.Array:
		for i := range v.Len() {
			changeEach(v.Index(i), name, do)
		}
		return
	}
	if v.IsZero() {
		return
	}
	v = reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem() // fields of this package
	before := reflect.ValueOf(v.Interface())
	v.SetZero()
	do(name)
	v.Set(before)
}
