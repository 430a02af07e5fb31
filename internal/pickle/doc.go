// Package pickle reads Python's pickles as data. A pickle is a program for a
// small stack machine, which may call any function that Python can import;
// this machine calls none but those that its user hands it, and refuses every
// other by name.
//
// It knows the opcodes of protocols 2 to 5 that build plain values: numbers,
// texts, bytes, tuples, lists and dictionaries. It does not know what the
// values mean, and creates no objects. Memory and time are in proportion to
// the pickle's length.
package pickle
