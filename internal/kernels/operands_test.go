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
	for k := opNone + 1; k <= opMamba; k++ {
		if !seen[k] {
			t.Errorf("no operation of kind %d was noted", k)
		}
	}
}

// allKinds returns operations of every kind, all operands of which are there.
func allKinds(t *testing.T) []operation {
	m := newTiny(t, onFake(t, roomy(t), Options{Act: ops.BF16}), 3)
	m.addMamba(8, 64, 1, 128)
	e := fakeExperts(t, m.Backend, 8, tinyHidden, 40)
	routes, err := m.Backend.Routes(ops.Mixture{Rows: 9, TopK: 2, Experts: 8, Width: 40, Out: tinyHidden})
	m.must(err)
	router := &ops.Router{Weight: m.matrix(8, tinyHidden), Bias: m.got(m.Vector(make([]float32, 8))), TopK: 2, Groups: 1, TopGroups: 1}
	m.middle = func(int) {
		n := len(m.batch.Tokens)
		m.Route(routes.Top(n), m.h.Top(n), router)
		m.Experts(m.x.Top(n), m.h.Top(n), routes.Top(n), e, true)
		m.Backend.mamba.most = mostMixed // in the layers that follow, one kernel
	}
	for range 2 {
		m.Backend.mamba.most = 0
		m.step(3)
	}
	return m.graphs.entries[0].notes
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
