package chat

// Budget counts the tokens that a model spends on reasoning, and tells when it
// is time to go on with the content: with Format.ReasoningEnd, as if the model
// had written it. It is for one goroutine.
type Budget struct {
	parser *Parser
	left   int
}

// NewBudget returns a budget for one reply. Of the options, it is Start and
// Tools that count.
func NewBudget(f Format, opts ParserOptions, tokens int) *Budget {
	return &Budget{parser: NewParser(f, opts), left: tokens}
}

// Feed takes the text of a token, which may be none. Tokens within the
// reasoning count, those that open and close it do not.
func (b *Budget) Feed(text string) {
	inside := b.parser.InReasoning()
	b.parser.Feed(text)
	if inside && b.parser.InReasoning() {
		b.left--
	}
}

// Spent reports whether the reasoning has to end here: its tokens are used up,
// and the text does not end in what may be the beginning of its own end.
func (b *Budget) Spent() bool {
	return b.left <= 0 && b.parser.InReasoning() && !b.parser.inMark()
}

// Over reports whether no reasoning can come any more.
func (b *Budget) Over() bool { return b.parser.settled() }
