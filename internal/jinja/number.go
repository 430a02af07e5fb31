package jinja

import (
	"errors"
	"math"
	"math/big"
	"math/bits"
)

// maxIntBits bounds integers: far more than Python prints.
const maxIntBits = 1 << 16

var errDivision = errors.New("division by zero")

// arith evaluates a binary operator on two numbers; ok is false if either
// operand is not a number.
func arith(op string, a, b Value) (v Value, ok bool, err error) {
	if isInt(a) && isInt(b) {
		v, err = intArith(op, a, b)
		return v, true, err
	}
	x, xok := asFloat(a)
	y, yok := asFloat(b)
	if !xok || !yok {
		return nil, false, nil
	}
	if math.IsInf(x, 0) && isInt(a) || math.IsInf(y, 0) && isInt(b) {
		return nil, true, &overflowError{"int too large to convert to float"}
	}
	v, err = floatArith(op, x, y)
	return v, true, err
}

func intArith(op string, a, b Value) (Value, error) {
	x, xok := asInt(a)
	y, yok := asInt(b)
	if xok && yok {
		if v, ok := smallArith(op, x, y); ok {
			return v, nil
		}
	}
	p, _ := asBig(a)
	q, _ := asBig(b)
	return bigArith(op, p, q)
}

// smallArith is the path without big integers; ok is false on overflow.
func smallArith(op string, x, y int64) (Value, bool) {
	switch op {
	case "+":
		s := x + y
		return s, (s > x) == (y > 0)
	case "-":
		d := x - y
		return d, (d < x) == (y > 0)
	case "*":
		hi, lo := bits.Mul64(uint64(abs64(x)), uint64(abs64(y)))
		return x * y, hi == 0 && lo < 1<<63
	case "//", "%":
		if y == 0 || x == math.MinInt64 {
			return nil, false
		}
		q, m := x/y, x%y
		if m != 0 && (m < 0) != (y < 0) {
			q, m = q-1, m+y
		}
		if op == "%" {
			return m, true
		}
		return q, true
	}
	return nil, false
}

func abs64(x int64) int64 {
	if x < 0 {
		return -x
	}
	return x
}

func bigArith(op string, p, q *big.Int) (Value, error) {
	z := new(big.Int)
	switch op {
	case "+":
		z.Add(p, q)
	case "-":
		z.Sub(p, q)
	case "*":
		if p.BitLen()+q.BitLen() > maxIntBits {
			return nil, limitErrorf("integer is larger than %d bits", maxIntBits)
		}
		z.Mul(p, q)
	case "/":
		return trueDiv(p, q)
	case "//", "%":
		if q.Sign() == 0 {
			return nil, errDivision
		}
		m := new(big.Int)
		z.QuoRem(p, q, m)
		if m.Sign() != 0 && m.Sign() != q.Sign() {
			z.Sub(z, big.NewInt(1))
			m.Add(m, q)
		}
		if op == "%" {
			z = m
		}
	default:
		return intPow(p, q)
	}
	return normInt(z), nil
}

func trueDiv(p, q *big.Int) (Value, error) {
	if q.Sign() == 0 {
		return nil, errDivision
	}
	if p.Sign() == 0 && q.Sign() < 0 {
		return math.Copysign(0, -1), nil
	}
	f, _ := new(big.Rat).SetFrac(p, q).Float64()
	if math.IsInf(f, 0) {
		return nil, &overflowError{"integer division result too large for a float"}
	}
	return f, nil
}

func intPow(p, q *big.Int) (Value, error) {
	if q.Sign() < 0 {
		x, _ := asFloat(p)
		y, _ := asFloat(q)
		if math.IsInf(x, 0) || math.IsInf(y, 0) {
			return nil, &overflowError{"int too large to convert to float"}
		}
		return floatPow(x, y)
	}
	if p.BitLen() > 1 && (!q.IsInt64() || q.Int64()*int64(p.BitLen()) > maxIntBits || q.Int64() > maxIntBits) {
		return nil, limitErrorf("integer is larger than %d bits", maxIntBits)
	}
	if p.BitLen() <= 1 { // 0, 1 or -1: only the parity of the exponent matters
		if q.Sign() == 0 {
			return int64(1), nil
		}
		if p.Sign() < 0 && q.Bit(0) == 0 {
			return int64(1), nil
		}
		return normInt(p), nil
	}
	return normInt(new(big.Int).Exp(p, q, nil)), nil
}

func floatArith(op string, x, y float64) (Value, error) {
	switch op {
	case "+":
		return x + y, nil
	case "-":
		return x - y, nil
	case "*":
		return x * y, nil
	case "/":
		if y == 0 {
			return nil, errDivision
		}
		return x / y, nil
	case "**":
		return floatPow(x, y)
	}
	if y == 0 {
		return nil, errDivision
	}
	q, m := floorDivMod(x, y)
	if op == "%" {
		return m, nil
	}
	return q, nil
}

// floorDivMod is Python's divmod of floats: the remainder has the sign of y.
func floorDivMod(x, y float64) (q, m float64) {
	m = math.Mod(x, y)
	d := (x - m) / y
	if m != 0 {
		if (y < 0) != (m < 0) {
			m += y
			d--
		}
	} else {
		m = math.Copysign(0, y)
	}
	if d == 0 {
		return math.Copysign(0, x/y), m
	}
	q = math.Floor(d)
	if d-q > 0.5 {
		q++
	}
	return q, m
}

func floatPow(x, y float64) (Value, error) {
	switch {
	case x == 0 && y < 0:
		return nil, errors.New("0.0 cannot be raised to a negative power")
	case x < 0 && !math.IsInf(x, 0) && !math.IsInf(y, 0) && y != math.Trunc(y):
		return nil, errors.New("complex numbers are not supported")
	}
	z := math.Pow(x, y)
	if math.IsInf(z, 0) && !math.IsInf(x, 0) && !math.IsInf(y, 0) {
		return nil, &overflowError{"result too large"}
	}
	return z, nil
}

// negate is the unary minus.
func negate(v Value) (Value, error) {
	switch x := v.(type) {
	case float64:
		return -x, nil
	case *Undefined:
		return nil, x.err()
	}
	if b, ok := asBig(v); ok {
		return normInt(new(big.Int).Neg(b)), nil
	}
	return nil, typeErrorf("bad operand type for unary -: '%s'", typeName(v))
}
