// Package grammar constrains generated tokens to texts of a given form: JSON
// that keeps a schema, tool calls, or any sequence of such parts.
//
// It knows JSON Schema, a vocabulary's bytes, and which tokens may follow. It
// knows no model, no logits and no chat formats, and it does not sample.
//
// An expression (Schema, Sequence, Choice, Until, …) is compiled to a Grammar,
// a nondeterministic automaton over bytes with a stack. All of its ways that
// lead nowhere are taken out, so that whatever has been written can be
// completed: a mask is never empty before the end. A Vocabulary is a tree of
// the tokens' bytes. Masks joins the two and keeps what each node of the
// automaton allows; a Matcher follows one text.
//
// What a matcher lets through fits the schema, always. The reverse is narrower
// than JSON Schema in these points, by choice:
//
//   - declared properties come in the order of the schema, then others, and
//     others only where additionalProperties or patternProperties speaks of
//     them, or nothing is declared; names may be repeated among these only;
//   - white space stands only where printers of JSON put it, not before a comma
//     or colon: one space, or a line end and up to 40 spaces or tabs; none
//     before or after the document;
//   - integers have no fraction and no exponent; numbers with bounds have no
//     exponent, those without have one of at most two digits; multiples have no
//     more places than multipleOf;
//   - strings with pattern, format, enum or const, and the names of
//     properties, escape what must be escaped and nothing else;
//   - formats are accepted in their common form;
//   - nesting ends at MaxDepth calls of the automaton, which is more than 80
//     levels of JSON.
package grammar
