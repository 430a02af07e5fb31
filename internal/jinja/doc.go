// Package jinja renders the chat templates of Hugging Face checkpoints: the
// Jinja2 template language with Python's semantics.
//
// It knows the language as those checkpoints configure it: trim_blocks and
// lstrip_blocks on, autoescape off, loop controls, the generation tag, the
// immutable sandbox (nothing passed in is ever changed) and the functions
// raise_exception and strftime_now. It follows Python where templates show
// it: printing of None, True, floats, lists and dictionaries, floor division
// and modulo, slices, string methods, and json.dumps behind tojson.
//
// It does not know what a message, a tool or a special token is, reads no
// files and has no template loader: include, import, extends and autoescape
// are refused by name. Templates come from strangers, so every render is
// bounded in steps, output, memory and nesting.
//
// Sources: the Jinja2 3.1 documentation of the template language, and the
// behaviour of Jinja2 3.1.6, against which the package's tests compare.
package jinja
