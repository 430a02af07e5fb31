package regular

import (
	"slices"
	"strings"
	"sync"
)

// The parts of the formats. Where a standard leaves a choice, the narrower one
// is taken: whatever is accepted here is right everywhere.
const (
	octet    = `(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])`
	dayTime  = `([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?`
	zone     = `(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])`
	leapYear = `([0-9]{2}(0[48]|[2468][048]|[13579][26])|([02468][48]|[13579][26]|[2468]0)00)`
	aDay     = `([0-9]{4}-((01|03|05|07|08|10|12)-(0[1-9]|[12][0-9]|3[01])|(04|06|09|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|` + leapYear + `-02-29)`
	label    = `[A-Za-z0-9]([A-Za-z0-9-]{0,30}[A-Za-z0-9])?`
	atom     = "[A-Za-z0-9_+-]+"
	group    = `[0-9A-Fa-f]{1,4}`
)

// formats holds, for each format, expressions that a text must match all.
var formats = map[string][]string{
	"date":      {aDay, notYear0},
	"time":      {dayTime + zone},
	"date-time": {aDay + "T" + dayTime + zone, notYear0},
	"duration":  {`P([0-9]+W|[0-9]+D|[0-9]+M([0-9]+D)?|[0-9]+Y([0-9]+M([0-9]+D)?)?|` + days + `T(` + hours + `))`},
	"uuid":      {`[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}`},
	"email":     {atom + `(\.` + atom + `)*@.*`, `[^@]{1,64}@` + label + `(\.` + label + `){1,3}`},
	"hostname":  {label + `(\.` + label + `){0,5}`},
	"ipv4":      {octet + `(\.` + octet + `){3}`},
	"ipv6":      {ipv6()},
	"uri":       {uri},
}

const (
	notYear0 = `(000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3}).*`
	days     = `([0-9]+D|[0-9]+M([0-9]+D)?|[0-9]+Y([0-9]+M([0-9]+D)?)?)?`
	hours    = `[0-9]+S|[0-9]+M([0-9]+S)?|[0-9]+H([0-9]+M([0-9]+S)?)?`
	uriChar  = `([A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})`
	uri      = `[A-Za-z][A-Za-z0-9+.-]*://` + label + `(\.` + label + `)*(:[0-9]{1,4})?(/` + uriChar + `*)*(\?(` + uriChar + `|[/?:])*)?(#(` + uriChar + `|[/?:])*)?`
)

// ipv6 lists where the run of zeros may stand.
func ipv6() string {
	forms := []string{strings.Repeat(group+":", 7) + group, `(` + group + `(:` + group + `){0,6})?::`}
	for after := 1; after <= 7; after++ {
		before := 7 - after
		form := "::" + group + strings.Repeat(":"+group, after-1)
		if before > 0 {
			form = `(` + group + `(:` + group + `){0,` + string(rune('0'+before-1)) + `})?` + form
		}
		forms = append(forms, form)
	}
	return strings.Join(forms, "|")
}

// Formats returns the names of the known formats, sorted.
func Formats() []string {
	var names []string
	for name := range formats {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Format returns the automaton of a format's texts, nil if it is not known.
func Format(name string, w Writing) (*DFA, error) {
	if formats[name] == nil {
		return nil, nil
	}
	key := formatKey{name, w}
	if d, ok := built.Load(key); ok {
		return d.(*DFA), nil
	}
	d, err := buildFormat(name, w)
	if err == nil {
		built.Store(key, d)
	}
	return d, err
}

// built holds the automata that have been asked for: they do not change.
var built sync.Map

type formatKey struct {
	name    string
	writing Writing
}

func buildFormat(name string, w Writing) (*DFA, error) {
	var all *DFA
	for _, expr := range formats[name] {
		d, err := Whole(expr, w)
		if err == nil && all != nil {
			d, err = Intersect(all, d)
		}
		if err != nil {
			return nil, err
		}
		all = d
	}
	return all, nil
}
