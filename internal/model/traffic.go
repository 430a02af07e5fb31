package model

import "math"

// work is what the layers of a model do besides multiplying with weights.
type work struct {
	attention []attentionWork
	scan      int64 // elements of the recurrences' states of a sequence, all layers together
	element   int64 // bytes of one
}

// attentionWork is one attention layer.
type attentionWork struct {
	position int64 // bytes of the cache for a position
	widths   int64 // of all heads together
	window   int   // 0: none
}

// work lists the layers that keep something for each sequence.
func (d *decoder) work(activation, state int) work {
	w := work{element: int64(state)}
	for i := range d.sublayers {
		switch m := d.sublayers[i].mixer.(type) {
		case *attention:
			nq, nkv := m.widths()
			w.attention = append(w.attention, attentionWork{int64(2 * nkv * activation), int64(nq), m.Window})
		case *mamba:
			w.scan += int64(m.Inner() * m.State)
		}
	}
	return w
}

// BytesPerToken returns the bytes of weights that one decoded token reads: of
// the embedding one row, of the routed experts the chosen ones, of everything
// else all. An embedding that is the head as well is read whole.
func (a *Account) BytesPerToken() int64 { return a.WeightTraffic(1) }

// WeightTraffic returns the bytes of weights that a step of n tokens must read.
// Of the routed experts they are those that n tokens are expected to choose if
// all experts are equally likely.
func (a *Account) WeightTraffic(n int) int64 {
	sum := 0.0
	tied := a.Parameters(HeadPart) == 0
	chosen := 1 - math.Pow(1-a.ActiveExperts, float64(n))
	for _, u := range a.Usage {
		size := float64(a.held(u))
		switch {
		case u.Part == RoutedPart:
			size *= chosen
		case u.Part == Embedding && !tied:
			size *= min(1, float64(n)/float64(a.Config.Vocab))
		}
		sum += size
	}
	return int64(sum)
}

// CacheTraffic returns the bytes of keys and values that decoding a token of
// one sequence must read, whose context it is the last of.
func (a *Account) CacheTraffic(context float64) int64 {
	sum := 0.0
	for _, l := range a.work.attention {
		sum += float64(l.position) * l.seen(context)
	}
	return int64(sum)
}

// seen returns how many positions of a context a token looks at.
func (l *attentionWork) seen(context float64) float64 {
	if l.window > 0 {
		return min(context, float64(l.window))
	}
	return context
}

// StateTraffic returns the bytes that decoding a token of one sequence must
// read and write of the states of Mamba-2's recurrences. The windows of its
// convolutions, some percent of that, are left out.
func (a *Account) StateTraffic() int64 { return 2 * a.work.element * a.work.scan }

// Operations returns the multiplications and additions that a prompt of n
// tokens takes: matrix products, attention, and the recurrences, whose every
// element takes five. The head is computed for the last token alone.
func (a *Account) Operations(n int) float64 {
	tokens := float64(n)
	products, tied := 0.0, a.Parameters(HeadPart) == 0
	for _, u := range a.Usage {
		size := float64(elements(u.Tensor.Shape))
		switch {
		case len(u.Tensor.Shape) < 2:
		case u.Part == HeadPart || u.Part == Embedding && tied:
			products += size
		case u.Part == Embedding:
		case u.Part == RoutedPart:
			products += size * a.ActiveExperts * tokens
		default:
			products += size * tokens
		}
	}
	attention := 0.0
	for _, l := range a.work.attention {
		attention += float64(l.widths) * l.pairs(tokens)
	}
	return 2*products + 4*attention + 5*float64(a.work.scan)*tokens
}

// pairs returns how many pairs of positions a prompt's attention looks at.
func (l *attentionWork) pairs(n float64) float64 {
	w := l.seen(n)
	return w*(w+1)/2 + (n-w)*w
}
