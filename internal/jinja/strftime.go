package jinja

import (
	"fmt"
	"strings"
	"time"
)

// strftime formats t as the C locale does. "%-d" and its like drop padding.
func strftime(t time.Time, format string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' || i+1 == len(format) {
			b.WriteByte(format[i])
			continue
		}
		i++
		flag := byte(0)
		if strings.IndexByte("-_0^#", format[i]) >= 0 && i+1 < len(format) {
			flag = format[i]
			i++
		}
		s, ok := timeField(t, format[i])
		if !ok {
			return "", fmt.Errorf("strftime_now: %%%c is not supported", format[i])
		}
		b.WriteString(applyFlag(s, flag))
	}
	return b.String(), nil
}

func applyFlag(s string, flag byte) string {
	switch flag {
	case '-':
		if t := strings.TrimLeft(s, "0 "); t != "" {
			return t
		}
		return s[len(s)-1:]
	case '_':
		t := strings.TrimLeft(s[:len(s)-1], "0") + s[len(s)-1:]
		return strings.Repeat(" ", len(s)-len(t)) + t
	case '0':
		return strings.ReplaceAll(s, " ", "0")
	case '^', '#':
		return strings.ToUpper(s)
	}
	return s
}

// layouts maps what Go's time package formats itself.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'd': "02", 'e': "_2",
	'H': "15", 'I': "03", 'j': "002", 'm': "01", 'M': "04", 'p': "PM", 'P': "pm", 'S': "05",
	'y': "06", 'Y': "2006", 'c': "Mon Jan _2 15:04:05 2006", 'x': "01/02/06", 'D': "01/02/06",
	'X': "15:04:05", 'T': "15:04:05", 'F': "2006-01-02", 'R': "15:04", 'r': "03:04:05 PM",
}

func timeField(t time.Time, c byte) (string, bool) {
	if l, ok := layouts[c]; ok {
		return t.Format(l), true
	}
	week, weekday := t.YearDay()-1, int(t.Weekday())
	isoYear, isoWeek := t.ISOWeek()
	switch c {
	case '%':
		return "%", true
	case 'n':
		return "\n", true
	case 't':
		return "\t", true
	case 'z', 'Z': // the clock is naive, as Python's datetime.now()
		return "", true
	case 'C':
		return fmt.Sprintf("%02d", t.Year()/100), true
	case 'f':
		return fmt.Sprintf("%06d", t.Nanosecond()/1000), true
	case 'G':
		return fmt.Sprintf("%d", isoYear), true
	case 'g':
		return fmt.Sprintf("%02d", isoYear%100), true
	case 'V':
		return fmt.Sprintf("%02d", isoWeek), true
	case 'k':
		return fmt.Sprintf("%2d", t.Hour()), true
	case 'l':
		return fmt.Sprintf("%2s", strings.TrimPrefix(t.Format("3"), "0")), true
	case 's':
		return fmt.Sprintf("%d", t.Unix()), true
	case 'u':
		return fmt.Sprintf("%d", (weekday+6)%7+1), true
	case 'w':
		return fmt.Sprintf("%d", weekday), true
	case 'U':
		return fmt.Sprintf("%02d", (week+7-weekday)/7), true
	case 'W':
		return fmt.Sprintf("%02d", (week+7-(weekday+6)%7)/7), true
	}
	return "", false
}
