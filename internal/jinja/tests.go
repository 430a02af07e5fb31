package jinja

import "math/big"

func testRows() []row {
	return []row{
		{"boolean", "", kindTest(func(v Value) bool { _, ok := v.(bool); return ok })},
		{"callable", "/", kindTest(isCallable)},
		{"defined", "", kindTest(func(v Value) bool { _, ok := v.(*Undefined); return !ok })},
		{"divisibleby", "num", testDivisible},
		{"escaped", "", kindTest(func(v Value) bool { _, ok := v.(markup); return ok })},
		{"eq equalto ==", "/ other", compareTest("==")},
		{"even", "", remainderTest(0)},
		{"false", "", kindTest(func(v Value) bool { return v == false })},
		{"filter", "", nameTest(func(s string) bool { return filters[s] != nil })},
		{"float", "", kindTest(func(v Value) bool { _, ok := v.(float64); return ok })},
		{"ge >=", "/ other", compareTest(">=")},
		{"gt greaterthan >", "/ other", compareTest(">")},
		{"in", "seq", func(r *run, v Value, a []Value) (Value, error) { return r.contains(v, a[0]) }},
		{"integer", "", kindTest(func(v Value) bool { _, b := v.(bool); return isInt(v) && !b })},
		{"iterable", "", testIterable},
		{"le <=", "/ other", compareTest("<=")},
		{"lower", "", caseTest(false)},
		{"lt lessthan <", "/ other", compareTest("<")},
		{"mapping", "", kindTest(func(v Value) bool { _, ok := v.(*Dict); return ok })},
		{"ne !=", "/ other", compareTest("!=")},
		{"none", "", kindTest(func(v Value) bool { return v == nil })},
		{"number", "", kindTest(func(v Value) bool { _, ok := asFloat(v); return ok })},
		{"odd", "", remainderTest(1)},
		{"sameas", "other", func(_ *run, v Value, a []Value) (Value, error) { return sameObject(v, a[0]), nil }},
		{"sequence", "", kindTest(isSequence)},
		{"string", "", kindTest(func(v Value) bool { _, ok := asString(v); return ok })},
		{"test", "", nameTest(func(s string) bool { return tests[s] != nil })},
		{"true", "", kindTest(func(v Value) bool { return v == true })},
		{"undefined", "", kindTest(func(v Value) bool { _, ok := v.(*Undefined); return ok })},
		{"upper", "", caseTest(true)},
	}
}

func kindTest(ok func(Value) bool) nativeFn {
	return func(_ *run, v Value, _ []Value) (Value, error) { return ok(v), nil }
}

func compareTest(op string) nativeFn {
	return func(r *run, v Value, a []Value) (Value, error) { return r.compare(op, v, a[0]) }
}

func nameTest(ok func(string) bool) nativeFn {
	return func(r *run, v Value, _ []Value) (Value, error) {
		if _, err := r.hashKey(v); err != nil {
			return nil, err
		}
		s, isStr := asString(v)
		return isStr && ok(s), nil
	}
}

func caseTest(upper bool) nativeFn {
	return func(r *run, v Value, _ []Value) (Value, error) {
		s, err := r.str(v)
		return oneCase(s, upper), err
	}
}

func remainderTest(want int64) nativeFn {
	return func(r *run, v Value, _ []Value) (Value, error) {
		m, err := r.binary("%", v, int64(2))
		if err != nil {
			return nil, err
		}
		return r.equal(m, want)
	}
}

func testDivisible(r *run, v Value, a []Value) (Value, error) {
	m, err := r.binary("%", v, a[0])
	if err != nil {
		return nil, err
	}
	return r.equal(m, int64(0))
}

func isCallable(v Value) bool {
	if _, ok := v.(*Undefined); ok {
		return true // Python sees its __call__, which then refuses
	}
	_, ok := v.(callable)
	return ok
}

func isSequence(v Value) bool {
	switch v.(type) {
	case *dictView, *iterator, int64, *big.Int:
		return false
	}
	_, ok := length(v)
	return ok
}

func testIterable(r *run, v Value, _ []Value) (Value, error) {
	if _, ok := v.(*loopState); ok {
		return true, nil
	}
	_, err := r.iterate(v)
	return err == nil, nil
}
