package jinja

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestSyntaxErrors(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"a\n{% if x %}b", "jinja: line 2: expected {% elif %} or {% else %} or {% endif %}, got end of template ({% if %} of line 2 is open)"},
		{"{% if x %}{% endfor %}", "jinja: line 1: unknown tag 'endfor', expected {% elif %} or {% else %} or {% endif %} ({% if %} of line 1 is open)"},
		{"{% for x xs %}{% endfor %}", "jinja: line 1: expected 'in', got xs"},
		{"{{ a", "jinja: line 1: expected '}}', got end of template"},
		{"{{ a b }}", "jinja: line 1: expected '}}', got b"},
		{"{{ }}", "jinja: line 1: expected an expression, got }}"},
		{"{% %}", "jinja: line 1: expected a tag name, got %}"},
		{"\n\n{{ (1] }}", "jinja: line 3: unexpected ']', expected ')'"},
		{"{{ 1) }}", "jinja: line 1: unexpected ')'"},
		{"{{ a ? b }}", "jinja: line 1: unexpected character '?'"},
		{"{{ 'abc }}", "jinja: line 1: string does not end"},
		{`{{ '\u12' }}`, `jinja: line 1: truncated \u escape`},
		{`{{ '\ud83d' }}`, `jinja: line 1: escape \ud83d is half of a surrogate pair`},
		{"{# a", "jinja: line 1: missing end of comment"},
		{"{% raw %}x", "jinja: line 1: missing {% endraw %}"},
		{"x\n{% include 'a' %}", "jinja: line 2: tag 'include' is not supported"},
		{"{% extends 'a' %}", "jinja: line 1: tag 'extends' is not supported"},
		{"{% nope %}", "jinja: line 1: unknown tag 'nope'"},
		{"{{ 1|nope }}", "jinja: line 1: no filter named 'nope'"},
		{"{{ 1 is nope }}", "jinja: line 1: no test named 'nope'"},
		{"{% break %}", "jinja: line 1: 'break' outside a loop"},
		{"{% for loop in x %}{% endfor %}", "jinja: line 1: the special variable 'loop' cannot be set inside a for"},
		{"{% macro f(a=1, b) %}{% endmacro %}", "jinja: line 1: parameter 'b' without a default follows one with a default"},
		{"{% set 1 = 2 %}", "jinja: line 1: can't assign to this expression"},
		{"{{ f(a=1, 2) }}", "jinja: line 1: arguments of the call are out of order or repeated"},
		{"{{ x. }}", "jinja: line 1: expected a name or a number after '.'"},
		{"\xff", "jinja: line 1: template is not valid UTF-8"},
		{"{{ " + strings.Repeat("(", 300) + strings.Repeat(")", 300) + " }}", "jinja: line 1: nested deeper than 200"},
		{"{{ 1" + strings.Repeat("+1", 3000) + " }}", "jinja: line 1: expression is too long"},
	} {
		_, err := Parse(c.source)
		var syntax *SyntaxError
		if !errors.As(err, &syntax) || err.Error() != c.want {
			t.Errorf("%.60q\n got %v\nwant %s", c.source, err, c.want)
		}
	}
}

func TestRenderErrors(t *testing.T) {
	for _, c := range []struct{ source, want string }{
		{"\n{{ x.y }}", "jinja: line 2: 'x' is undefined"},
		{"{% if 1 %}\n{{ {}.a.b }}{% endif %}", "jinja: line 2: 'dict object' has no attribute 'a'"},
		{"{{ [][0].b }}", "jinja: line 1: list object has no element 0"},
		{"{{ 1 +\n none }}", "jinja: line 1: unsupported operand type(s) for +: 'int' and 'NoneType'"},
		{"{{ 'a' + 1 }}", `jinja: line 1: can only concatenate str (not "int") to str`},
		{"{{ 1 < 'a' }}", "jinja: line 1: '<' not supported between instances of 'int' and 'str'"},
		{"{{ 1 / 0 }}", "jinja: line 1: division by zero"},
		{"{{ [].append(1) }}", "jinja: line 1: access to attribute 'append' of 'list' object is unsafe"},
		{"{{ ''.__class__.x }}", "jinja: line 1: access to attribute '__class__' of 'str' object is unsafe"},
		{"{{ 5() }}", "jinja: line 1: 'int' object is not callable"},
		{"{% for a in 5 %}{% endfor %}", "jinja: line 1: 'int' object is not iterable"},
		{"{% set a, b = [1] %}", "jinja: line 1: not enough values to unpack (expected 2, got 1)"},
		{"{% set x = 1 %}{% set x.y = 2 %}", "jinja: line 1: cannot assign attribute 'y' on non-namespace object 'x'"},
		{"{{ 'a'|replace('b') }}", "jinja: line 1: replace(): argument 'new' is missing"},
		{"{{ 'a'.upper(1) }}", "jinja: line 1: upper(): takes at most 0 arguments, got 1"},
		{"{% macro m() %}{% endmacro %}{{ m(1) }}", "jinja: line 1: macro 'm' takes not more than 0 argument(s)"},
		{"{{ nothing|tojson }}", "jinja: line 1: Object of type Undefined is not JSON serializable"},
		{"{{ 'a'.encode() }}", "jinja: line 1: string method 'encode' is not supported"},
		{"{{ 'x'|urlize }}", "jinja: line 1: filter 'urlize' is not supported"},
		{"{{ lipsum() }}", "jinja: line 1: function 'lipsum' is not supported"},
		{"a\nb {{ raise_exception('no ' ~ 1) }}", "jinja: line 2: template raised: no 1"},
	} {
		tmpl, err := Parse(c.source)
		if err != nil {
			t.Errorf("%q: %v", c.source, err)
			continue
		}
		if _, err = tmpl.Render(nil, Options{}); err == nil || err.Error() != c.want {
			t.Errorf("%q\n got %v\nwant %s", c.source, err, c.want)
		}
	}
}

// TestLimits renders templates that would run away: each must stop with a
// LimitError, soon.
func TestLimits(t *testing.T) {
	for _, source := range []string{
		"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
		"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
		"{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
		"{{ 'a' * 10 ** 12 }}",
		"{{ [1] * 10 ** 12 }}",
		"{{ 2 ** (10 ** 9) }}",
		"{{ 10 ** (9 ** 9) }}",
		"{{ range(10 ** 6) }}",
		"{{ 'a'.center(10 ** 12) }}",
		"{{ '{:9999999999}'.format(1) }}",
		"{{ '%999999999d' % 1 }}",
		"{{ '%.99999f' % 1 }}",
		"{{ 'a'|indent(10 ** 12) }}",
		"{{ [1]|batch(10 ** 12, 0)|list }}",
		"{{ [1]|slice(10 ** 12)|list }}",
		"{{ ('ab' * 1000000).replace('', 'x' * 1000000) }}",
		"{{ ('x' * 1000000).join('y' * 1000000) }}",
		"{{ 1|tojson(indent=10 ** 9) }}",
		"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}",
		"{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
		"{% set ns = namespace(l=[1]) %}{% for i in range(99) %}{% set ns.l = ns.l + ns.l %}{% endfor %}",
		"{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l }}",
		"{% set ns = namespace(l=[]) %}{% for i in range(99999) %}{% set ns.l = [ns.l] %}{% endfor %}{{ ns.l|tojson }}",
		"{% set ns = namespace(l=1, m=1) %}{% for i in range(9999) %}{% set ns.l = [ns.l] %}{% set ns.m = [ns.m] %}{% endfor %}{{ ns.l == ns.m }}",
		"{% for i in range(99999) %}{{ 'x' * 1000 }}{% endfor %}",
		"{% set ns = namespace(d={}) %}{% for i in range(60) %}{% set ns.d = {'a': ns.d, 'b': ns.d} %}{% endfor %}{{ ns.d|tojson }}",
	} {
		tmpl, err := Parse(source)
		if err != nil {
			t.Errorf("%s: %v", source, err)
			continue
		}
		start := time.Now()
		_, err = tmpl.Render(nil, Options{MaxSteps: 2_000_000, MaxOutput: 4 << 20})
		var limit *LimitError
		if !errors.As(err, &limit) {
			t.Errorf("%s: got error %v, want a limit", source, err)
		}
		if took := time.Since(start); took > 5*time.Second {
			t.Errorf("%s took %v", source, took)
		}
	}
}

// TestNestedText prints a value that refers to itself many times over: its
// text is exponential in the size of the template.
func TestNestedText(t *testing.T) {
	for _, end := range []string{"{{ ns.d }}", "{{ ns.d|string|length }}", "{{ ns.d ~ '' }}", "{{ ns.d == ns.e }}", "{{ {(ns.d,): 1}|length }}"} {
		tmpl, err := Parse("{% set ns = namespace(d=(1,), e=(1,)) %}{% for i in range(40) %}" +
			"{% set ns.d = (ns.d, ns.d) %}{% set ns.e = (ns.e, ns.e) %}{% endfor %}" + end)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_, err = tmpl.Render(nil, Options{MaxSteps: 2_000_000, MaxOutput: 4 << 20})
		if took := time.Since(start); took > 5*time.Second || err == nil {
			t.Errorf("%s took %v: %v", end, took, err)
		}
	}
}

func TestConcurrentRender(t *testing.T) {
	tmpl, err := Parse("{% set ns = namespace(n=0) %}{% for x in xs %}{% set ns.n = ns.n + x %}{% endfor %}{{ ns.n }}{{ xs|tojson }}")
	if err != nil {
		t.Fatal(err)
	}
	v, err := FromJSON([]byte(`{"xs":[1,2,3]}`))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				if out, err := tmpl.Render(v.(*Dict), Options{}); err != nil || out != "6[1, 2, 3]" {
					t.Errorf("got %q, %v", out, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestFromJSONErrors(t *testing.T) {
	for _, c := range []struct{ data, want string }{
		{"", "jinja: JSON at offset 0: expected a value"},
		{"{", "jinja: JSON at offset 1: expected a property name in double quotes"},
		{`{"a"}`, "jinja: JSON at offset 4: expected ':'"},
		{`{"a":1,}`, "jinja: JSON at offset 7: expected a property name in double quotes"},
		{`[1,]`, "jinja: JSON at offset 3: expected a value"},
		{`[1 2]`, "jinja: JSON at offset 3: expected ',' or ']'"},
		{`01`, "jinja: JSON at offset 0: expected a value"},
		{`1.`, "jinja: JSON at offset 1: extra data"},
		{"\"a\nb\"", "jinja: JSON at offset 2: control character in a string"},
		{`"\q"`, "jinja: JSON at offset 1: invalid escape"},
		{`"abc`, "jinja: JSON at offset 4: string does not end"},
		{"\"\xff\"", "jinja: JSON is not valid UTF-8"},
		{strings.Repeat("[", 600), "jinja: JSON at offset 501: nested deeper than 500"},
		{strings.Repeat("9", 5000), "jinja: JSON at offset 0: integer has more than 4300 digits"},
	} {
		if _, err := FromJSON([]byte(c.data)); err == nil || err.Error() != c.want {
			t.Errorf("%.40q\n got %v\nwant %s", c.data, err, c.want)
		}
	}
}
