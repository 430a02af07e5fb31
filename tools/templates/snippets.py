"""Snippets that show one feature each; "⏎" stands for a line break."""

# The variables that every snippet sees.
VARIABLES = {
    "n": 7, "neg": -7, "zero": 0, "f": 2.5, "big": 123456789012345678901234567890,
    "t": True, "no": False, "none_": None, "s": "Hello, World", "empty": "",
    "uni": "Straße – naïve 日本語 🙂", "ws": "  \t padded \n ", "multi": "one\ntwo\n\nthree\n",
    "xs": [3, 1, 2], "words": ["banana", "Apple", "cherry", "apple"], "mixed": [1, "a", None, True, 2.5],
    "d": {"b": 2, "a": 1, "nested": {"k": [1, {"z": None}]}}, "ed": {}, "el": [],
    "people": [{"name": "Ann", "age": 30, "city": "Rome"}, {"name": "bob", "age": 25, "city": "oslo"},
               {"name": "Cy", "age": 30, "city": "rome"}, {"name": "Dee", "city": "Oslo"}],
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
                 {"role": "assistant", "content": None, "tool_calls": [
                     {"id": "c1", "function": {"name": "f", "arguments": {"x": 1, "y": "é"}}}]}],
    "tree": [{"v": 1, "c": [{"v": 2, "c": []}, {"v": 3, "c": [{"v": 4, "c": []}]}]}, {"v": 5, "c": []}],
    "html": "<b class=\"x\">Tom & 'Jerry'</b>", "flt": [0.1, 1e16, 1e-5, 100.0, -0.0, 1e22, 1.5e300],
    "keyed": {"items": 1, "get": 2, "0": "zero"}, "loop_": "x",
}

SNIPPETS = r"""
{{ 1 }}
{{ -1 }}|{{ +1 }}|{{ - -1 }}|{{ -n }}|{{ +t }}|{{ -t }}
{{ 1.0 }}|{{ 1e3 }}|{{ 1.5e-7 }}|{{ 1E5 }}|{{ 1_000 }}|{{ 0x1F }}|{{ 0b101 }}|{{ 0o17 }}|{{ 1_0.5_0 }}
{{ 00 }}|{{ 0 }}
{{ flt }}
{{ flt|join(' ') }}
{{ 123456789012345678 }}|{{ 1e15 }}|{{ 1e16 }}|{{ 123456789.123456789 }}|{{ 0.0001 }}|{{ 0.00001 }}
{{ true }}|{{ false }}|{{ none }}|{{ True }}|{{ False }}|{{ None }}
{{ big }}|{{ big + 1 }}|{{ big * big }}|{{ big // 7 }}|{{ big % 7 }}|{{ -big // 7 }}|{{ -big % 7 }}|{{ big / 3 }}
{{ 9223372036854775807 + 1 }}|{{ -9223372036854775808 - 1 }}|{{ 4611686018427387904 * 2 }}|{{ 9223372036854775807 }}
{{ 7 // 2 }}|{{ -7 // 2 }}|{{ 7 // -2 }}|{{ -7 // -2 }}|{{ 7 % 3 }}|{{ -7 % 3 }}|{{ 7 % -3 }}|{{ -7 % -3 }}
{{ 7.5 // 2 }}|{{ -7.5 // 2 }}|{{ 7.5 % 2 }}|{{ -7.5 % 2 }}|{{ 7.5 % -2 }}|{{ -0.0 }}|{{ 0 * -1.0 }}
{{ 7 / 2 }}|{{ 6 / 2 }}|{{ -7 / 2 }}|{{ 1 / 3 }}|{{ 0 / -5 }}
{{ 2 ** 10 }}|{{ 2 ** -1 }}|{{ 2 ** 0.5 }}|{{ (-2) ** 3 }}|{{ -2 ** 2 }}|{{ 2 ** 3 ** 2 }}|{{ 2 ** 100 }}|{{ 0 ** 0 }}|{{ 1.5 ** 2 }}
{{ (-8) ** 2 }}|{{ 4 ** 0.5 }}|{{ 10 ** 20 }}|{{ (-1) ** 1000001 }}
{{ 0 ** -1 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 % 0 }}
{{ 10.0 ** 400 }}
{{ true + 1 }}|{{ true * 3 }}|{{ true / 2 }}|{{ false - 1 }}
{{ 1 + 2.5 }}|{{ 1 - 0.5 }}|{{ 3 * 0.1 }}|{{ 0.1 + 0.2 }}
{{ 1 + 2 * 3 - 4 / 2 }}|{{ (1 + 2) * 3 }}|{{ 10 - 2 - 3 }}|{{ 2 * 3 % 4 }}
{{ 'a' + 'b' }}|{{ 'a' * 3 }}|{{ 3 * 'a' }}|{{ 'a' * 0 }}|{{ 'a' * -1 }}
{{ [1] + [2] }}|{{ [1, 2] * 2 }}|{{ 2 * [1] }}|{{ (1,) + (2,) }}|{{ (1, 2) * 2 }}
{{ 'a' + 1 }}
{{ 1 + 'a' }}
{{ [1] + (2,) }}
{{ [] + 'a' }}
{{ none + 1 }}
{{ {} + {} }}
{{ 'a' - 'b' }}
{{ 'a' * 'b' }}
{{ 'a' * 1.5 }}
{{ 1 ~ 2 }}|{{ 'a' ~ 1 ~ none ~ true ~ 1.0 }}|{{ 'x' ~ [1, 'a'] }}|{{ 1 ~ 2 + 3 ~ 4 if false else 'n' }}
{{ 'a' ~ missing ~ 'b' }}
{{ 'a' ~ 1 + 2 }}
{{ 1 + 2 ~ 'a' }}
{{ 1 == 1 }}|{{ 1 == 1.0 }}|{{ 1 == true }}|{{ '1' == 1 }}|{{ none == false }}|{{ [1] == [1.0] }}|{{ (1,) == [1] }}
{{ 1 != 2 }}|{{ 'a' < 'b' }}|{{ 'B' < 'a' }}|{{ [1, 2] < [1, 3] }}|{{ [1] < [1, 0] }}|{{ (1, 'a') < (1, 'b') }}
{{ 1 < 2 < 3 }}|{{ 1 < 3 < 2 }}|{{ 3 > 2 >= 2 == 2.0 }}|{{ 1 < 2 > 1 }}|{{ 1 == 1 in [1, true] }}
{{ 1 < 'a' }}
{{ none < 1 }}
{{ [1] < ['a'] }}
{{ {} < {} }}
{{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}|{{ {1: 2} == {1.0: 2} }}|{{ {} == [] }}
{{ 1e400 == 1e400 }}|{{ 1e400 }}|{{ -1e400 }}
{{ big > 1e10 }}|{{ big == 1e29 }}|{{ 9007199254740993 == 9007199254740992.0 }}|{{ 9007199254740993 > 9007199254740992.0 }}
{{ 'a' in 'abc' }}|{{ 'z' not in 'abc' }}|{{ 1 in [1, 2] }}|{{ 'a' in {'a': 1} }}|{{ '' in 'a' }}|{{ 1.0 in [1] }}
{{ 1 in 'abc' }}
{{ 1 in 5 }}
{{ 'a' in none }}
{{ [1] in {} }}
{{ 'a' in d }}|{{ 'a' in d.keys() }}|{{ 1 in d.values() }}|{{ ('a', 1) in d.items() }}|{{ 2 in range(3) }}|{{ 5 in (1, 2) }}
{{ not 1 }}|{{ not '' }}|{{ not not 'a' }}|{{ not none }}|{{ not [] }}|{{ not {} }}|{{ not 0.0 }}|{{ not missing }}
{{ 1 and 2 }}|{{ 0 and 2 }}|{{ '' or 'x' }}|{{ 0 or none }}|{{ 1 or missing.x }}|{{ none and missing.x }}
{{ 1 if true }}|{{ 1 if false }}|{{ 1 if false else 2 }}|{{ 'a' if 0 else 'b' if 0 else 'c' }}|{{ (1 if no) is defined }}
{{ ('a' if t else 'b') ~ 'c' }}|{{ 'x' ~ ('a' if no else 'b') }}|{{ 1 if t if t else 3 }}
{{ (1 if false).x }}
{{ (1 if false) + 1 }}
{{ 'it''s' }}|{{ "a" 'b' "c" }}|{{ 'a\'b' }}|{{ "a\"b" }}
{{ 'a\nb' }}|{{ 'a\tb' }}|{{ 'a\\nb' }}|{{ '\x41\u00e9\U0001F642' }}|{{ '\101\0' }}|{{ 'a\qb' }}|{{ '\é' }}|{{ 'a\⏎b' }}
{{ '\a\b\f\v\r'|list }}
{{ '\u12' }}
{{ '\xZZ' }}
{{ 'abc }}
{{ "🙂"|length }}|{{ uni|length }}|{{ uni[0] }}|{{ uni[-1] }}|{{ uni[9:15] }}|{{ uni[::-1] }}|{{ uni.upper() }}|{{ uni.lower() }}
{{ [] }}|{{ [1, 'a', none, true, 1.0, [2], (3,), {'k': 'v'}] }}|{{ () }}|{{ (1,) }}|{{ (1, 2) }}|{{ 1, 2 }}|{{ 1, }}
{{ {} }}|{{ {'a': 1} }}|{{ {1: 'x', none: 2, true: 3, (1, 2): 4, 1.5: 5} }}|{{ {'a': 1, 'a': 2} }}|{{ {'a': 1,} }}|{{ [1,] }}
{{ {[]: 1} }}
{{ {{}: 1} }}
{{ ['a"b', "a'b", 'a\'"b', 'a\nb', 'a\\b', '\x00\x7f\x80', 'é', '\u200b', '🙂'] }}
{{ d }}|{{ d.nested.k[1] }}|{{ d['nested']['k'][1]['z'] }}|{{ mixed }}
{{ d.a }}|{{ d['a'] }}|{{ d.missing }}|{{ d['missing'] }}|{{ d.get('a') }}|{{ d.get('q') }}|{{ d.get('q', 5) }}
{{ d.missing.x }}
{{ d['missing']['x'] }}
{{ d.missing['x'] }}
{{ missing }}|{{ missing|string }}|{{ [missing] }}|{{ missing == missing }}|{{ missing == none }}|{{ missing != 1 }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing() }}
{{ missing + 1 }}
{{ 1 + missing }}
{{ -missing }}
{{ missing < 1 }}
{{ missing * 2 }}
{{ 'a' + missing }}
{{ missing % 2 }}
{{ 'x%s' % missing }}
{{ missing[1:] }}
{{ none.x }}|{{ none['x'] }}|{{ n.x }}|{{ n[0] }}|{{ f.real }}|{{ n.real }}|{{ n.numerator }}|{{ n.bit_length() }}
{{ none.x.y }}
{{ n() }}
{{ 'a'() }}
{{ none() }}
{{ d() }}
{{ xs[0] }}|{{ xs[-1] }}|{{ xs[5] }}|{{ xs['a'] }}|{{ xs[true] }}|{{ xs[1.0] }}|{{ xs.0 }}|{{ xs.5 }}|{{ xs[none] }}
{{ s[0] }}|{{ s[-1] }}|{{ s[99] }}|{{ s[1:4] }}|{{ s[:-2] }}|{{ s[::2] }}|{{ s[::-1] }}|{{ s[4:1:-1] }}|{{ s[10:2] }}|{{ s[-3:] }}
{{ xs[1:] }}|{{ xs[:1] }}|{{ xs[::-1] }}|{{ xs[-2:] }}|{{ xs[5:] }}|{{ xs[:] }}|{{ xs[0:3:2] }}|{{ xs[::-2] }}|{{ xs[2:0:-1] }}|{{ xs[-100:100] }}
{{ (1, 2, 3)[1:] }}|{{ (1, 2, 3)[::-1] }}|{{ range(10)[2:5] }}|{{ range(10)[::3]|list }}|{{ range(10)[-1] }}|{{ range(10)[::-1]|list }}
{{ xs[::0] }}
{{ xs['a':] }}
{{ d[1:] }}
{{ n[1:] }}
{{ xs[none:2] }}|{{ xs[n:] }}|{{ xs[:big] }}|{{ xs[-big:] }}
{{ d[[1]] }}|{{ xs[1, 2] }}|{{ xs[(0,)] }}
{{ keyed['items'] }}|{{ keyed['get'] }}|{{ keyed['0'] }}|{{ keyed[0] }}
{{ keyed.get('items') }}|{{ d['keys']()|list }}|{{ 'abc'['upper']() }}
{{ d.keys() }}|{{ d.values() }}|{{ d.items() }}|{{ d.keys()|list }}|{{ d.items()|list }}|{{ ed.keys() }}|{{ d.keys()|length }}
{{ d.keys()[0] }}|{{ d.items()|first }}|{{ d.keys()|last }}|{{ d.items()|list|last }}
{{ d.update({'x': 1}) }}
{{ d.pop('a') }}
{{ d.clear() }}
{{ d.setdefault('z', 1) }}
{{ xs.append(1) }}
{{ xs.sort() }}
{{ xs.reverse() }}
{{ xs.pop() }}
{{ xs.extend([1]) }}
{{ xs.insert(0, 1) }}
{{ xs.remove(1) }}
{{ xs.clear() }}
{{ d.update }}|{{ xs.append }}|{{ d.update is defined }}|{{ xs.append is undefined }}
{{ ''.__class__ }}|{{ d.__class__ is defined }}|{{ d.__foo is defined }}|{{ d._x is defined }}
{{ ''.__class__.__mro__ }}
{{ d['__class__'] }}|
{{ xs.index(2) }}|{{ xs.count(1) }}|{{ (1, 2).index(2) }}|{{ (1, 1).count(1) }}|{{ xs.copy() }}|{{ d.copy() }}|{{ xs.index(1, 1) }}
{{ xs.index(99) }}
{{ 'abc'.upper() }}|{{ 'ABC'.lower() }}|{{ 'hello world'.title() }}|{{ "they're bill's".title() }}|{{ 'hELLO'.capitalize() }}|{{ 'aBc'.swapcase() }}
{{ 'ß'.upper() }}|{{ 'ŉ'.upper() }}|{{ 'ǆ'.title() }}|{{ 'ΑΣ'.lower() }}|{{ 'İ'.lower()|length }}|{{ 'STRASSE'.casefold() }}|{{ 'ß'.casefold() }}|{{ 'ß'.capitalize() }}
{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'abcba'.strip('ab') }}|{{ 'xyx'.lstrip('x') }}|{{ 'xyx'.rstrip('x') }}|{{ 'a'.strip(none) }}
{{ 'a,b,c'.split(',') }}|{{ 'a,b,c'.split(',', 1) }}|{{ 'a,b,c'.rsplit(',', 1) }}|{{ ' a  b '.split() }}|{{ ' a  b c '.split(none, 1) }}|{{ ' a b  c '.rsplit(none, 1) }}|{{ ''.split() }}|{{ ''.split(',') }}|{{ 'a,b'.split(sep=',', maxsplit=0) }}
{{ 'a</think>b</think>c'.split('</think>')[-1] }}|{{ 'abc'.split('</think>')[0].rstrip('\n').split('<think>')[-1].lstrip('\n') }}
{{ 'abc'.split('') }}
{{ 'abc'.split(1) }}
{{ multi.splitlines() }}|{{ multi.splitlines(true) }}|{{ 'a\r\nb\rc\x0bd\u2028e'.splitlines() }}|{{ ''.splitlines() }}
{{ s.startswith('He') }}|{{ s.endswith('ld') }}|{{ s.startswith(('x', 'H')) }}|{{ s.startswith('l', 2) }}|{{ s.endswith('') }}|{{ s.startswith('e', 1, 3) }}|{{ s.endswith('l', 0, 4) }}|{{ 'a'.startswith('', 5) }}
{{ s.startswith(1) }}
{{ s.startswith(['H']) }}
{{ s.find('o') }}|{{ s.rfind('o') }}|{{ s.find('zz') }}|{{ s.find('o', 5) }}|{{ s.index('W') }}|{{ uni.find('日') }}|{{ s.find('') }}|{{ s.find('l', -3) }}|{{ s.count('l') }}|{{ s.count('') }}|{{ s.count('l', 5) }}
{{ s.index('zz') }}
{{ s.replace('l', 'L') }}|{{ s.replace('l', 'L', 1) }}|{{ s.replace('', '-') }}|{{ s.replace('l', '') }}|{{ 'aaa'.replace('aa', 'b') }}
{{ s.replace(1, 2) }}
{{ ','.join(['a', 'b']) }}|{{ ','.join('abc') }}|{{ ''.join([]) }}|{{ '-'.join({'x': 1, 'y': 2}) }}|{{ ', '.join(words|map('upper')) }}
{{ ','.join([1, 2]) }}
{{ ','.join(5) }}
{{ '7'.zfill(3) }}|{{ '-7'.zfill(4) }}|{{ '+'.zfill(3) }}|{{ 'abc'.zfill(2) }}|{{ 'a'.ljust(3) }}|{{ 'a'.rjust(3, '*') }}|{{ 'a'.center(4) }}|{{ 'ab'.center(5, '-') }}|{{ 'abc'.center(6, '*') }}
{{ 'a'.center(4, 'xy') }}
{{ '12'.isdigit() }}|{{ '1a'.isdigit() }}|{{ ''.isdigit() }}|{{ '²'.isdigit() }}|{{ '½'.isnumeric() }}|{{ '²'.isdecimal() }}|{{ 'ab'.isalpha() }}|{{ 'é日'.isalpha() }}|{{ 'a1'.isalnum() }}|{{ ' \n'.isspace() }}|{{ ''.isspace() }}|{{ 'AB1'.isupper() }}|{{ 'ab1'.islower() }}|{{ '1'.islower() }}|{{ 'Ab Cd'.istitle() }}|{{ 'a_1'.isidentifier() }}|{{ '1a'.isidentifier() }}|{{ 'a\n'.isprintable() }}|{{ 'é'.isascii() }}
{{ 'test.py'.removesuffix('.py') }}|{{ 'unhappy'.removeprefix('un') }}|{{ 'abc'.removeprefix('x') }}|{{ 'a-b-c'.partition('-') }}|{{ 'a-b-c'.rpartition('-') }}|{{ 'abc'.partition('-') }}|{{ 'abc'.rpartition('-') }}|{{ 'a\tb'.expandtabs(4) }}
{{ 'abc'.partition('') }}
{{ 'abc'.nothing() }}
{{ 'abc'.upper(1) }}
{{ 'abc'.strip(chars='a') }}
{{ 'abc'.split is defined }}|{{ 'abc'.foo is defined }}|{{ 'abc'.upper is callable }}|{{ d.items is callable }}
{{ '{} {}'.format(1, 'a') }}|{{ '{1} {0}'.format('a', 'b') }}|{{ '{x}'.format(x=1) }}|{{ '{{}}'.format() }}|{{ '{0.real}'.format(3) }}|{{ '{0[1]}'.format([1, 2]) }}|{{ '{0[a]}'.format({'a': 'z'}) }}|{{ '{!r}'.format('a') }}|{{ '{!s:>5}'.format('a') }}
{{ '{:5}|{:<5}|{:>5}|{:^5}|{:*^5}'.format(1, 2, 3, 4, 5) }}|{{ '{:05}|{:+}|{: }|{:,}|{:_}'.format(42, 42, 42, 1234567, 1234567) }}
{{ '{:.2f}|{:8.3f}|{:e}|{:g}|{:%}|{:.0f}|{:.1%}'.format(3.14159, 2.71828, 12345.678, 0.00001, 0.25, 2.5, 0.123) }}
{{ '{:b}|{:o}|{:x}|{:X}|{:#x}|{:#b}|{:c}|{:d}'.format(10, 10, 255, 255, 255, 5, 65, true) }}|{{ '{:>10}|{:.3}|{:10.2}'.format('abc', 'abcdef', 'xyz') }}
{{ '{:{}}'.format('a', 5) }}|{{ '{:,.2f}'.format(1234567.891) }}|{{ '{:010.2f}'.format(-3.14159) }}|{{ '{:+.1e}'.format(12345) }}|{{ '{:.3}'.format(1234.5678) }}|{{ '{:.10}'.format(0.1) }}|{{ '{:g}'.format(1e20) }}|{{ '{:g}'.format(100000) }}|{{ '{:g}'.format(1000000) }}
{{ '{} {0}'.format(1) }}
{{ '{}'.format() }}
{{ '{x}'.format() }}
{{ '{'.format() }}
{{ '}'.format() }}
{{ '{:q}'.format(1) }}
{{ '{:d}'.format('a') }}
{{ '{:.2f}'.format('a') }}
{{ '{:d}'.format(1.5) }}
{{ '{a.b}'.format(a={'b': 3}) }}|{{ '{a[b]}'.format(a={'b': 3}) }}|{{ '{x}'.format_map({'x': 4}) }}
{{ '%s %d %r' % ('a', 2, 'b') }}|{{ '%s' % 5 }}|{{ '%s' % 'x' }}|{{ '%%' % () }}|{{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }}|{{ '%s' % [1, 2] }}|{{ '%s' % ((1, 2),) }}
{{ '%5d|%-5d|%05d|%+d|% d' % (1, 2, 3, 4, 5) }}|{{ '%.2f|%8.3f|%e|%g' % (3.14159, 2.71828, 12345.678, 0.0001) }}|{{ '%x|%X|%o|%#x' % (255, 255, 8, 255) }}|{{ '%c%c' % (65, 'b') }}|{{ '%10s|%-10s|%.2s' % ('a', 'b', 'xyz') }}|{{ '%*d' % (5, 3) }}
{{ '%d' % 3.9 }}|{{ '%d' % true }}|{{ '%i' % -3 }}|{{ '%s' % none }}|{{ '%r' % 'é' }}|{{ '%a' % 'é' }}
{{ '%d' % 'a' }}
{{ '%s %s' % 'a' }}
{{ '%s' % ('a', 'b') }}
{{ '%z' % 1 }}
{{ '%(a)s' % {} }}
{{ '%s %s'|format('a', 1) }}|{{ '%(x)s'|format(x=1) }}|{{ 'plain'|format }}
{{ '%s'|format }}
{{ missing is defined }}|{{ n is defined }}|{{ missing is undefined }}|{{ none is none }}|{{ none_ is defined }}|{{ missing is none }}|{{ d.q is defined }}|{{ d.a is defined }}|{{ d.a is not none }}
{{ 's' is string }}|{{ 1 is string }}|{{ 1 is number }}|{{ 1.5 is number }}|{{ true is number }}|{{ '1' is number }}|{{ 1 is integer }}|{{ true is integer }}|{{ 1.0 is integer }}|{{ 1.0 is float }}|{{ 1 is float }}|{{ big is integer }}|{{ true is boolean }}|{{ 1 is boolean }}
{{ true is true }}|{{ 1 is true }}|{{ false is false }}|{{ 0 is false }}|{{ {} is mapping }}|{{ [] is mapping }}|{{ missing is mapping }}|{{ [] is iterable }}|{{ 'a' is iterable }}|{{ 1 is iterable }}|{{ none is iterable }}|{{ {} is iterable }}|{{ missing is iterable }}
{{ [] is sequence }}|{{ 'a' is sequence }}|{{ {} is sequence }}|{{ (1,) is sequence }}|{{ 1 is sequence }}|{{ range(3) is sequence }}|{{ d.keys() is sequence }}|{{ missing is sequence }}|{{ (xs|map('abs')) is sequence }}|{{ (xs|map('abs')) is iterable }}
{{ 3 is odd }}|{{ 4 is odd }}|{{ 4 is even }}|{{ -3 is odd }}|{{ 1.5 is odd }}|{{ 6 is divisibleby 3 }}|{{ 7 is divisibleby(3) }}|{{ 6 is divisibleby(num=2) }}
{{ 'a' is odd }}
{{ none is even }}
{{ 6 is divisibleby 0 }}
{{ 1 is eq 1 }}|{{ 1 is equalto 2 }}|{{ 1 is ne 2 }}|{{ 1 is lt 2 }}|{{ 1 is lessthan 1 }}|{{ 2 is gt 1 }}|{{ 2 is greaterthan 3 }}|{{ 1 is le 1 }}|{{ 1 is ge 2 }}|{{ 1 is in [1] }}|{{ 1 is not in [1] }}|{{ 'a' is in 'abc' }}
{{ 'abc' is lower }}|{{ 'ABC' is upper }}|{{ 'aB' is lower }}|{{ 1 is lower }}|{{ none is sameas none }}|{{ true is sameas true }}|{{ 1 is sameas true }}|{{ xs is sameas xs }}|{{ xs is sameas [3, 1, 2] }}|{{ 'x' is escaped }}|{{ ('x'|e) is escaped }}
{{ range is callable }}|{{ n is callable }}|{{ missing is callable }}|{{ 'upper' is filter }}|{{ 'nope' is filter }}|{{ 'odd' is test }}|{{ 'nope' is test }}
{{ 1 is nope }}
{{ 1|nope }}
{% if false %}{{ 1|nope }}{% endif %}ok
{% if false %}{{ 1 is nope }}{% endif %}ok
{% if true %}{{ 1|nope }}{% endif %}
{{ 1 if true else 2|nope }}
{{ 1|nope if false else 2 }}
{% if t %}{% for x in [] %}{{ x|nope }}{% endfor %}{% endif %}
{% if 1 is string %}a{% elif 1 is number %}b{% else %}c{% endif %}
{{ not n is string }}|{{ n is not string }}|{{ n is string or t }}|{{ n is defined and n is number }}|{{ (n is number) == true }}|{{ n + 1 is number }}|{{ -1 is number }}
{{ 1 is string is string }}
{{ -5|abs }}|{{ (-5)|abs }}|{{ -2.5|abs }}|{{ (-2.5)|abs }}|{{ true|abs }}|{{ (-big)|abs }}
{{ 'a'|abs }}
{{ missing|abs }}
{{ d|attr('a') }}|{{ d|attr('keys') is callable }}|{{ 'a'|attr('upper') is callable }}|{{ d|attr('q') is defined }}
{{ [1,2,3,4,5]|batch(2)|list }}|{{ [1,2,3]|batch(2, 'x')|list }}|{{ []|batch(2)|list }}|{{ [1,2,3]|batch(0)|list }}|{{ 'abc'|batch(2)|list }}
{{ [1,2,3,4,5]|slice(2)|list }}|{{ [1,2,3,4,5]|slice(3, 'x')|list }}|{{ []|slice(2)|list }}|{{ [1]|slice(3)|list }}
{{ [1]|slice(0)|list }}
{{ 'hello WORLD'|capitalize }}|{{ ''|capitalize }}|{{ 5|capitalize }}|{{ 'a'|center(5) }}|{{ 'ab'|center(5) }}|{{ 'x'|center|length }}|{{ xs|count }}|{{ s|length }}|{{ d|length }}|{{ missing|length }}
{{ 5|length }}
{{ none|length }}
{{ missing|default('x') }}|{{ none|default('x') }}|{{ ''|default('x') }}|{{ ''|default('x', true) }}|{{ none|d('y', boolean=true) }}|{{ missing|default }}|{{ d.q|default([]) }}|{{ 0|default(5, true) }}|{{ n|default(1) }}
{{ missing.x|default('a') }}
{{ d|dictsort }}|{{ {'b': 1, 'A': 2, 'c': 0}|dictsort }}|{{ {'b': 1, 'A': 2}|dictsort(true) }}|{{ {'b': 1, 'a': 2}|dictsort(false, 'value') }}|{{ {'b': 1, 'a': 2}|dictsort(by='key', reverse=true) }}
{{ {'b': 1, 1: 2}|dictsort }}
{{ {'a': 1}|dictsort(by='x') }}
{{ [1]|dictsort }}
{{ html|e }}|{{ html|escape }}|{{ html|forceescape }}|{{ html|e|e }}|{{ html|e|forceescape }}|{{ 1|e }}|{{ none|e }}|{{ html|safe }}|{{ html|safe|e }}
{{ ('<'|e) + '<' }}|{{ '<' + ('<'|e) }}|{{ ('<'|e) ~ '<' }}|{{ ('<'|e) * 2 }}|{{ [('<'|e)] }}|{{ ('<%s>'|safe) % '<' }}|{{ ('a'|e).upper() is escaped }}|{{ ('{}'|safe).format('<') }}|{{ ('-'|safe).join(['<', '>']) }}|{{ ('x'|e).replace('x', '<') }}
{{ '<b>a</b>  <i>b\n</i>&amp; <!-- c -->d'|striptags }}|{{ '<a'|striptags }}
{{ 1|filesizeformat }}|{{ 0|filesizeformat }}|{{ 100|filesizeformat }}|{{ 1500|filesizeformat }}|{{ 1500000|filesizeformat }}|{{ 1024|filesizeformat(true) }}|{{ 1234567|filesizeformat(true) }}|{{ 1e30|filesizeformat }}|{{ '300'|filesizeformat }}
{{ xs|first }}|{{ ''|first }}|{{ []|first is defined }}|{{ s|first }}|{{ d|first }}|{{ xs|last }}|{{ s|last }}|{{ d|last }}|{{ []|last is defined }}|{{ range(3)|last }}
{{ 5|first }}
{{ (xs|map('abs'))|last }}
{{ '3.5'|float }}|{{ 'x'|float }}|{{ 'x'|float(1.5) }}|{{ 3|float }}|{{ none|float }}|{{ ' 2 '|float }}|{{ '1e3'|float }}|{{ 'inf'|float }}|{{ '1_0.5'|float }}|{{ ''|float }}|{{ true|float }}|{{ '0x10'|float }}
{{ missing|float }}
{{ '42'|int }}|{{ '42.9'|int }}|{{ 'x'|int }}|{{ 'x'|int(7) }}|{{ 3.9|int }}|{{ -3.9|int }}|{{ none|int }}|{{ 'ff'|int(0, 16) }}|{{ '0xff'|int(0, 16) }}|{{ '0b11'|int(base=2) }}|{{ ' 5 '|int }}|{{ '1_000'|int }}|{{ '1e3'|int }}|{{ true|int }}|{{ [] |int }}|{{ 'inf'|int }}|{{ '-7'|int }}|{{ '+7'|int }}|{{ '--7'|int }}|{{ '077'|int }}|{{ '0x1'|int }}|{{ '12'|int(default=3, base=8) }}|{{ 1e20|int }}|{{ big|int }}
{{ missing|int }}
{{ multi|indent }}|{{ multi|indent(2) }}|{{ multi|indent(2, true) }}|{{ multi|indent(2, blank=true) }}|{{ multi|indent('>>') }}|{{ ''|indent }}|{{ 'a'|indent(first=true) }}
{{ 5|indent }}
{{ {'a': 1}|items|list }}|{{ missing|items|list }}|{{ ed|items|list }}
{{ [1]|items|list }}
{{ [1, 2]|join }}|{{ [1, 2]|join('-') }}|{{ 'abc'|join(',') }}|{{ people|join(', ', attribute='name') }}|{{ [none, true, 1.5, 'x']|join('|') }}|{{ missing|join(',') }}|{{ xs|join(d='+') }}|{{ d|join(',') }}|{{ [1, 2]|join(0) }}
{{ 5|join }}
{{ 'abc'|list }}|{{ d|list }}|{{ range(3)|list }}|{{ missing|list }}|{{ (1, 2)|list }}|{{ d.items()|list }}
{{ none|list }}
{{ 'ABC'|lower }}|{{ 5|lower }}|{{ none|upper }}|{{ 'abc'|upper }}|{{ ['A']|lower }}|{{ true|lower }}
{{ words|map('upper')|list }}|{{ people|map(attribute='name')|list }}|{{ people|map(attribute='age', default=0)|list }}|{{ people|map(attribute='age')|list }}|{{ [1, 2]|map('string')|join(',') }}|{{ ['a b', 'c']|map('replace', 'a', 'x')|list }}|{{ messages|map(attribute='role')|join(' ') }}|{{ [[1, 2], [3]]|map('first')|list }}|{{ [[1, 2], [3, 4]]|map(attribute=0)|list }}|{{ messages|map(attribute='tool_calls.0.id', default='-')|list }}|{{ missing|map('upper')|list }}|{{ []|map('nope')|list }}
{{ [1]|map('nope')|list }}
{{ [1]|map|list }}
{{ people|map(attribute='x.y')|list }}
{{ [1]|map(attribute='a', foo=1)|list }}
{{ words|map('default', 'x')|map('length')|sum }}
{{ xs|max }}|{{ xs|min }}|{{ words|max }}|{{ words|min }}|{{ words|min(true) }}|{{ words|max(case_sensitive=true) }}|{{ people|selectattr('age')|max(attribute='age') }}|{{ people|min(attribute='name') }}|{{ []|max is defined }}|{{ 'hello'|max }}
{{ [1, 'a']|max }}
{{ {'b': [1, 2], 'a': 'x'}|pprint }}|{{ 'a'|pprint }}|{{ [1, 'é']|pprint }}|{{ missing|pprint }}
{{ [0, 1, '', 'a', none]|select|list }}|{{ [1, 2, 3, 4]|select('odd')|list }}|{{ [1, 2, 3, 4]|select('gt', 2)|list }}|{{ [1, 2, 3]|select('in', [1, 3])|list }}|{{ ['a', 1]|select('string')|list }}|{{ [1, 2, 3, 4]|select('divisibleby', 2)|list }}|{{ [1, 2]|select('==', 2)|list }}
{{ [0, 1, '', 'a', none]|reject|list }}|{{ [1, 2, 3, 4]|reject('odd')|list }}|{{ [1, 2, 3]|reject('equalto', 2)|list }}
{{ people|selectattr('age')|map(attribute='name')|list }}|{{ people|selectattr('age', 'equalto', 30)|map(attribute='name')|list }}|{{ people|rejectattr('age')|map(attribute='name')|list }}|{{ people|rejectattr('age', 'defined')|map(attribute='name')|list }}|{{ messages|selectattr('role', '==', 'user')|list|length }}|{{ messages|selectattr('content', 'none')|list|length }}|{{ messages|selectattr('tool_calls', 'defined')|list|length }}|{{ people|selectattr('age', 'ge', 30)|list }}
{{ people|selectattr('age', 'gt', 26)|list }}
{{ [1]|select('nope')|list }}
{{ [1]|selectattr|list }}
{{ 'aaa'|replace('a', 'b') }}|{{ 'aaa'|replace('a', 'b', 2) }}|{{ 123|replace(2, 'x') }}|{{ 'a.b'|replace('.', '') }}|{{ 'abc'|replace('', '-') }}|{{ 'abc'|replace('b', none) }}
{{ 'abc'|replace('a') }}
{{ 'abc'|reverse }}|{{ [1, 2, 3]|reverse|list }}|{{ d|reverse|list }}|{{ range(3)|reverse|list }}|{{ (1, 2)|reverse|list }}|{{ uni|reverse }}|{{ xs|map('abs')|reverse }}|{{ ''|reverse }}
{{ 5|reverse }}
{{ 42.55|round }}|{{ 42.55|round(1) }}|{{ 42.55|round(1, 'floor') }}|{{ 42.51|round(1, 'ceil') }}|{{ 2.5|round }}|{{ 3.5|round }}|{{ -2.5|round }}|{{ 5|round }}|{{ 1234|round(-2) }}|{{ 1250|round(-2) }}|{{ 1350|round(-2) }}|{{ 1234.5|round(-2) }}|{{ 2.675|round(2) }}|{{ 5|round(2) }}|{{ 7.1|round(0, 'ceil') }}|{{ 42.7|round|int }}|{{ 15|round(-1, 'floor') }}|{{ 1e300|round(2) }}
{{ 'a'|round }}
{{ 1.5|round(1, 'nope') }}
{{ 'x'|safe }}|{{ 5|string }}|{{ none|string }}|{{ [1, 'a']|string }}|{{ 5|string|length }}|{{ 1.0|string }}|{{ true|string }}
{{ xs|sort }}|{{ xs|sort(reverse=true) }}|{{ words|sort }}|{{ words|sort(case_sensitive=true) }}|{{ words|sort(true) }}|{{ people|sort(attribute='name')|map(attribute='name')|list }}|{{ people|selectattr('age')|sort(attribute='age,name')|map(attribute='name')|list }}|{{ people|selectattr('age')|sort(attribute='age', reverse=true)|map(attribute='name')|list }}|{{ 'cab'|sort }}|{{ d|sort }}|{{ [[2, 'a'], [1, 'b']]|sort }}|{{ []|sort }}|{{ [(1, 'b'), (1, 'a')]|sort }}|{{ [[2], [1]]|sort(attribute=0) }}
{{ [1, 'a']|sort }}
{{ people|sort(attribute='age') }}
{{ [1, 2.5]|sum }}|{{ []|sum }}|{{ [1]|sum(start=10) }}|{{ people|selectattr('age')|sum(attribute='age') }}|{{ [[1], [2]]|sum(start=[]) }}|{{ [true, true]|sum }}
{{ ['a']|sum }}
{{ ['a']|sum(start='') }}
{{ 'hello wORLD foo-bar (baz) [x] {y} <z> it\'s'|title }}|{{ 'éa ßb'|title }}|{{ ''|title }}|{{ 5|title }}
{{ ws|trim }}|{{ 'xxaxx'|trim('x') }}|{{ 5|trim }}|{{ 'a'|trim(none) }}|{{ '\u3000\x1ca\u2003'|trim }}
{{ 'foo bar baz qux'|truncate(9) }}|{{ 'foo bar baz qux'|truncate(9, true) }}|{{ 'foo bar baz qux'|truncate(11) }}|{{ 'foo bar baz qux'|truncate(11, false, '...', 0) }}|{{ 'abc'|truncate(3) }}|{{ 'abcdefghijkl'|truncate(5, true, '') }}|{{ 'abcdefghijkl'|truncate(5, end='…', leeway=0) }}|{{ uni|truncate(8, true, leeway=0) }}
{{ 'abc'|truncate(2) }}
{{ ['foo', 'bar', 'foo', 'FOO']|unique|list }}|{{ ['a', 'A']|unique(true)|list }}|{{ people|unique(attribute='city')|map(attribute='name')|list }}|{{ [1, 1.0, true, 2]|unique|list }}|{{ 'abca'|unique|join }}
{{ [[1]]|unique|list }}
{{ 'a b/c?d=é&~'|urlencode }}|{{ {'a': 'b c', 'd': '/'}|urlencode }}|{{ [('x', 1), ('y', none)]|urlencode }}|{{ 5|urlencode }}
{{ 'one two  three_4 five-six'|wordcount }}|{{ ''|wordcount }}|{{ 'é日 x'|wordcount }}|{{ none|wordcount }}
{{ 'the quick brown fox'|wordwrap(10) }}|{{ 'aaaaaaaaaaaa bb'|wordwrap(5) }}|{{ 'aaaaaaaaaaaa bb'|wordwrap(5, false) }}|{{ 'a b c'|wordwrap(3, wrapstring='/') }}|{{ multi|wordwrap(3) }}|{{ 'well-known fact-based'|wordwrap(6) }}|{{ 'well-known'|wordwrap(6, break_on_hyphens=false) }}|{{ 'a  b   c'|wordwrap(4) }}
{{ {'class': 'a b', 'id': none, 'x': '<'}|xmlattr }}|{{ {'a': 1}|xmlattr(false) }}|{{ {}|xmlattr }}
{{ {'a b': 1}|xmlattr }}
{{ people|groupby('city') }}|{% for c, l in people|groupby('city') %}{{ c }}:{{ l|length }};{% endfor %}|{% for g in people|groupby('city', case_sensitive=true) %}{{ g.grouper }}={{ g.list|map(attribute='name')|join(',') }};{% endfor %}|{{ people|groupby('age', default=0)|map(attribute=0)|list }}
{{ people|groupby('age') }}
{{ d|tojson }}|{{ mixed|tojson }}|{{ flt|tojson }}|{{ html|tojson }}|{{ uni|tojson }}|{{ uni|tojson(ensure_ascii=true) }}|{{ 'a"\\/\n\t\x08\x0c\r\x01\x7f'|tojson }}|{{ none|tojson }}|{{ big|tojson }}|{{ (1, 2)|tojson }}|{{ {1: 2, none: 3, true: 4, 1.5: 5}|tojson }}|{{ []|tojson }}|{{ {}|tojson }}
{{ d|tojson(indent=2) }}|{{ d|tojson(indent=0) }}|{{ d|tojson(indent='--') }}|{{ []|tojson(indent=2) }}|{{ [[], {}]|tojson(indent=4) }}|{{ d|tojson(sort_keys=true) }}|{{ d|tojson(separators=(',', ':')) }}|{{ d|tojson(separators=[', ', '='], indent=1) }}|{{ d|tojson(true, 2) }}|{{ d|tojson(indent=none) }}
{{ 1e400|tojson }}|{{ (-1e400)|tojson }}|{{ (1e400 - 1e400)|tojson }}|{{ 1e400 - 1e400 }}
{{ missing|tojson }}
{{ {'a': missing}|tojson }}
{{ d.keys()|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ range(3)|tojson }}
{{ {'b': 1, 2: 2}|tojson(sort_keys=true) }}
{{ range(3) }}|{{ range(1, 4)|list }}|{{ range(10, 0, -3)|list }}|{{ range(0)|list }}|{{ range(3)|length }}|{{ range(0, 10, 3) }}|{{ range(3)[1] }}|{{ range(3) == range(0, 3, 1) }}
{{ range(1, 2, 0) }}
{{ range(100001) }}
{{ range('a') }}
{{ range() }}
{{ range(1.5) }}
{{ range(missing) }}
{{ dict(a=1, b=2) }}|{{ dict({'x': 1}, y=2) }}|{{ dict([('a', 1), ['b', 2]]) }}|{{ dict() }}|{{ dict(d, a=9) }}|{{ dict(**{'q': 1}) }}
{{ dict(1) }}
{{ dict([1]) }}
{{ dict([(1, 2, 3)]) }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{% set x = c.reset() %}{{ c.current }}
{{ cycler() }}
{% set j = joiner('|') %}{% for x in xs %}{{ j() }}{{ x }}{% endfor %}{% set j = joiner() %}{{ j() }}x{{ j() }}
{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{{ ns.c is defined }}{% set ns.a = 5 %}{{ ns.a }}{{ ns['a'] }}{% set ns.new = [1] %}{{ ns.new }}
{% set ns = namespace({'q': 1}, z=2) %}{{ ns.q }}{{ ns.z }}|{{ ns }}
{% set ns = namespace() %}{% for x in xs %}{% set ns.last = x %}{% endfor %}{{ ns.last }}
{% set ns = namespace(n=0) %}{% for x in xs %}{% if x > 1 %}{% set ns.n = ns.n + x %}{% endif %}{% endfor %}{{ ns.n }}
{% set d.x = 1 %}
{% set missing.x = 1 %}
{% set ns = namespace() %}{% set ns.a, ns.b = 1, 2 %}{{ ns.a }}{{ ns.b }}
{{ raise_exception('boom') }}
{{ raise_exception('é "quoted" ' ~ n) }}
{% if n == 7 %}{{ raise_exception('Roles must alternate, got ' + messages[0]['role']) }}{% endif %}
{{ raise_exception(5) }}
{{ raise_exception() }}
{{ strftime_now('%Y-%m-%d') }}|{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%A, %B %d, %Y at %H:%M:%S') }}|{{ strftime_now('%j %U %W %w %u %V %G %y %C %e %I %p %f %% %a') }}|{{ strftime_now('%D %T %F %R') }}|{{ strftime_now('%-d/%-m %-H %-I') }}|{{ strftime_now('%c|%x|%X') }}|{{ strftime_now('') }}|{{ strftime_now('plain é') }}|{{ strftime_now('%Z%z') }}
{{ strftime_now() }}
{{ lipsum is defined }}|{{ cycler is defined }}|{{ enumerate is defined }}|{{ zip is defined }}|{{ loop is defined }}|{{ caller is defined }}
{{ enumerate(xs) }}
{% for x in xs %}{{ x }}{% endfor %}|{% for x in [] %}a{% else %}b{% endfor %}|{% for x in xs %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}|{% for k in d %}{{ k }}{% endfor %}|{% for c in 'abc' %}{{ c }}-{% endfor %}|{% for a, (b, c) in [(1, (2, 3)), (4, [5, 6])] %}{{ a }}{{ b }}{{ c }};{% endfor %}
{% for x in missing %}a{% else %}none{% endfor %}|{% for x in range(3) %}{{ x }}{% endfor %}|{% for x in xs|map('string') %}{{ x }}{{ loop.last }}{% endfor %}|{% for x in xs|map('string') %}{{ loop.length }}{{ x }}{% endfor %}
{% for x in 5 %}a{% endfor %}
{% for x in none %}a{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [(1,)] %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for x in xs if x > 1 %}{{ x }}{{ loop.index }}/{{ loop.length }}{{ loop.last }};{% endfor %}|{% for x in xs if x > 5 %}a{% else %}b{% endfor %}|{% for k, v in d.items() if v is number %}{{ k }}{{ loop.last }}{% endfor %}
{% for m in messages if m.role != 'system' %}{{ loop.index0 }}{{ m.role }}{{ loop.previtem.role if loop.previtem is defined }}{{ loop.nextitem.role if loop.nextitem is defined else '-' }};{% endfor %}
{% for x in xs %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }};{% endfor %}|{% for x in xs %}{{ loop.cycle('a', 'b') }}{% endfor %}|{% for x in [1, 1, 2, 2, 1] %}{{ loop.changed(x) }}{% endfor %}|{% for x in [1, 1, 2] %}{% if loop.changed(x, 'k') %}{{ x }}{% endif %}{% endfor %}
{% for x in xs %}{{ loop.cycle() }}{% endfor %}
{% for x in xs %}{{ loop.nope is defined }}{% endfor %}|{% for x in xs %}{% for y in 'ab' %}{{ loop.index }}{% endfor %}{{ loop.index }}{% endfor %}|{% for x in xs %}{% set outer = loop %}{% for y in 'ab' %}{{ outer.index }}{{ loop.index }} {% endfor %}{% endfor %}
{% for x in xs %}{% if x == 1 %}{% continue %}{% endif %}{{ x }}{% endfor %}|{% for x in xs %}{% if x == 1 %}{% break %}{% endif %}{{ x }}{% endfor %}|{% for x in [1] %}{% continue %}{% else %}E{% endfor %}|{% for x in [1] %}{% break %}{% else %}E{% endfor %}|{% for x in xs %}{% if loop.index == 2 %}{% break %}{% endif %}{% else %}E{% endfor %}
{% for x in xs %}{% for y in xs %}{% if y == 1 %}{% break %}{% endif %}{{ y }}{% endfor %}{{ x }}{% endfor %}|{% for x in xs %}{% filter upper %}a{% if x == 1 %}{% continue %}{% endif %}b{% endfilter %}{% endfor %}|{% for x in xs %}{% set v %}{% if x == 1 %}{% break %}{% endif %}q{% endset %}{{ v }}{% endfor %}
{% break %}
{% continue %}
{% for x in xs %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for x in xs %}{% generation %}{% break %}{% endgeneration %}{% endfor %}
{% for x in xs %}{% else %}{% break %}{% endfor %}
{% for item in tree recursive %}{{ item.v }}{% if item.c %}[{{ loop(item.c) }}]{% endif %}{{ loop.depth }}{{ loop.depth0 }}{% endfor %}
{% for item in tree recursive %}{{ loop.index }}/{{ loop.length }}:{{ item.v }}{{ loop(item.c) }}{% else %}.{% endfor %}
{% for x in xs %}{{ loop(x) }}{% endfor %}
{% for x in xs recursive %}{{ loop(5) }}{% endfor %}
{% for loop in xs %}{% endfor %}
{% for x in xs %}{% set loop = 1 %}{% endfor %}
{% set loop = 5 %}{{ loop }}
{% for x in xs %}{% set y = x %}{% endfor %}{{ y is defined }}|{% set y = 0 %}{% for x in xs %}{% set y = y + x %}{{ y }}{% endfor %}{{ y }}|{% if true %}{% set z = 1 %}{% endif %}{{ z }}|{% if false %}{% set q = 1 %}{% endif %}{{ q is defined }}
{% for x in xs %}{% set n = x %}{{ n }}{% endfor %}{{ n }}|{% for n in xs %}{{ n }}{% endfor %}{{ n }}|{% with n = 1 %}{{ n }}{% set n = 2 %}{{ n }}{% endwith %}{{ n }}
{% for x in xs %}{{ s }}{% endfor %}{% set s = 'later' %}{{ s }}
{{ n }}{% for x in xs %}{{ n }}{% endfor %}{% set n = 'later' %}{{ n }}
{% for x in xs %}{% if x == 2 %}{% set s = x %}{% endif %}{{ s }};{% endfor %}
{% set s %}[{{ s }}]{% endset %}{{ s }}
{% macro m() %}{{ s }}{% endmacro %}{{ m() }}{% set s = 2 %}{{ m() }}
{% macro n() %}m{% endmacro %}{{ n() }}
{% set a = 1 %}{% set a = a + 1 %}{{ a }}|{% set a, b = 1, 2 %}{{ a }}{{ b }}|{% set (a, b) = [3, 4] %}{{ a }}{{ b }}|{% set a = 1, 2 %}{{ a }}|{% set a = b = 1 %}
{% set x %}a{{ n }}b{% endset %}{{ x }}|{% set x | upper %}abc{% endset %}{{ x }}|{% set x | replace('a', 'b') | trim %} aa {% endset %}{{ x }}|{% set x %}{% endset %}{{ x is string }}{{ x|length }}
{% set a, b = 1 %}
{% set a, b = 1, 2, 3 %}
{% set 1 = 2 %}
{% set true = 2 %}
{% set a.b.c = 2 %}
{% set a['b'] = 2 %}
{% set a[0] = 2 %}
{% macro f(a, b=2, c='x') %}{{ a }}{{ b }}{{ c }}{% endmacro %}{{ f(1) }}|{{ f(1, 3) }}|{{ f(1, c=5) }}|{{ f() }}|{{ f(a=9, b=8, c=7) }}|{{ f(*[1, 2, 3]) }}|{{ f(**{'a': 1, 'c': 2}) }}|{{ f(1, *[4]) }}
{% macro f(a) %}{% endmacro %}{{ f(1, 2) }}
{% macro f(a) %}{% endmacro %}{{ f(b=2) }}
{% macro f(a) %}{% endmacro %}{{ f(1, a=2) }}
{% macro f(a, b) %}{{ b.x }}{% endmacro %}{{ f(1) }}
{% macro f(a=1, b) %}{% endmacro %}
{% macro f(a, a) %}{% endmacro %}
{% macro f() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ f(1, 2, x=3) }}|{{ f() }}|{% macro g(a) %}{{ a }}{{ varargs }}{% endmacro %}{{ g(1, 2, 3) }}|{% macro h(a) %}{{ kwargs.z }}{% endmacro %}{{ h(1, z=4) }}
{% macro f(a, b=a) %}{{ a }}{{ b }}{% endmacro %}{{ f(1) }}|{% macro g(a=n, b=a ~ 'x') %}{{ a }}{{ b }}{% endmacro %}{{ g() }}|{% macro h(a=later, later=2) %}{{ a }}{{ later }}{% endmacro %}{{ h() }}
{% macro f() %}{{ n }}{% set n = 1 %}{{ n }}{% endmacro %}{{ f() }}{{ n }}|{% macro g() %}{% set v = 1 %}{% endmacro %}{{ g() }}{{ v is defined }}|{% macro k() %}a{% endmacro %}{{ k() ~ k()|upper }}{{ k() is string }}
{% macro fact(n) %}{% if n < 2 %}1{% else %}{{ n * fact(n - 1)|int }}{% endif %}{% endmacro %}{{ fact(10) }}
{% macro f(x) %}{{ caller() }}-{{ x }}{% endmacro %}{% call f(1) %}body{% endcall %}|{% macro g() %}{{ caller(5, 6) }}{% endmacro %}{% call(a, b=9) g() %}{{ a }}{{ b }}{% endcall %}|{% macro h() %}{{ caller is defined }}{% endmacro %}{{ h() }}{% call h() %}{% endcall %}
{% macro f() %}x{% endmacro %}{% call f() %}{% endcall %}
{% macro f() %}{{ caller() }}{% endmacro %}{{ f() }}
{% macro f() %}{{ caller(1) }}{% endmacro %}{% call f() %}{% endcall %}
{% call n() %}{% endcall %}
{% call 5 %}{% endcall %}
{% macro f(a) %}{% endmacro %}{{ f.name }}|{{ f.arguments }}|{{ f.catch_kwargs }}|{{ f.catch_varargs }}|{{ f.caller }}|{{ f }}|{{ f is callable }}
{% macro outer() %}{% macro inner() %}i{{ n }}{% endmacro %}{{ inner() }}{% endmacro %}{{ outer() }}|{{ inner is defined }}
{% for x in xs %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}|{% if t %}{% macro q() %}q{% endmacro %}{% endif %}{{ q() }}
{{ later() }}{% macro later() %}{% endmacro %}
{% filter upper %}abc {{ s }}{% endfilter %}|{% filter replace('a', 'b')|upper %}aXa{% endfilter %}|{% filter trim %}  x {% endfilter %}|{% filter indent(2) %}a⏎b{% endfilter %}|{% filter upper %}{% set zz = 1 %}{% endfilter %}{{ zz is defined }}
{% filter nope %}{% endfilter %}
{% with a = 1, b = 2 %}{{ a }}{{ b }}{% endwith %}{{ a is defined }}|{% with %}{% set k = 1 %}{{ k }}{% endwith %}{{ k is defined }}|{% with n = n + 1 %}{{ n }}{% endwith %}|{% with a = 1, b = a %}{{ b }}{% endwith %}|{% with a, b = (1, 2) %}{{ b }}{% endwith %}
{% generation %}a{{ n }}{% set g = 1 %}{% endgeneration %}{{ g is defined }}|{% for x in xs %}{% generation %}{{ x }}{{ loop.index }}{% endgeneration %}{% endfor %}
{%- generation -%} a {%- endgeneration -%} b
{% block a %}x{{ n }}{% endblock %}|{% block b %}y{% endblock b %}|{% set v = 3 %}{% block c %}{{ v }}{% endblock %}
{% block a %}{% endblock %}{% block a %}{% endblock %}
{% raw %}{{ x }}{% if %}{% endraw %}|{% raw -%}  a {%- endraw %}|{%- raw %} b{% endraw -%}   c
{% raw %}a
a {# c #} b|{#- x -#} d|e {#+ x +#} f|{# {{ 1 }} {% if %} #}g
a {# unclosed
{% if n %}a{% elif t %}b{% else %}c{% endif %}|{% if not n %}a{% elif no %}b{% else %}c{% endif %}|{% if no %}a{% endif %}|{% if n and t or no %}x{% endif %}|{% if (n) %}y{% endif %}|{% if n: %}z{% endif %}
{% if %}{% endif %}
{% if n %}
{% if n %}{% endfor %}
{% endif %}
{% else %}
{% elif n %}
{% if n %}{% else %}{% else %}{% endif %}
{% for %}{% endfor %}
{% for x %}{% endfor %}
{% for x in %}{% endfor %}
{% for x in xs %}
{% nope %}
{% do xs.append(1) %}
{% trans %}{% endtrans %}
{% %}
{{ }}
{{
{{ n
{% if n
{{ n } }
{{ n %}
{% if n }}{% endif %}
{{ n n }}
{{ n, }}|{{ (n,) }}
{{ 1 + }}
{{ * 1 }}
{{ (1 }}
{{ 1) }}
{{ [1 }}
{{ [1) }}
{{ {1: } }}
{{ {1} }}
{{ {1, 2} }}
{{ a ? b }}
{{ a & b }}
{{ a ! b }}
{{ a := 1 }}
{{ $x }}
{{ n. }}
{{ n.'a' }}
{{ n[ }}
{{ n[] }}
{{ n|}}
{{ n| }}
{{ n|1 }}
{{ n is }}
{{ f(a=1, 2) }}
{{ dict(a=1, a=2) }}
{{ dict(**d, **d) }}
{{ range(*[1], *[2]) }}
{{ range(*[1, 3])|list }}|{{ range(1, *[3])|list }}|{{ dict(a=1, **{'b': 2}) }}|{{ dict(a=1,) }}|{{ range(3,)|list }}
{{ range(*5) }}
{{ dict(**5) }}
{{ dict(**{1: 2}) }}
{{ lambda: 1 }}
{{ [x for x in xs] }}
{{ not }}
{{ 1 in }}
{{ 'a' 'b' ~ 'c' }}
{{ n.real.real }}|{{ d.nested.k.1.z }}|{{ d.nested['k'].0 }}|{{ xs.0.real }}
{{ 1.real }}
{{ 1.5.real }}|{{ (1).real }}|{{ "a".upper()[0].lower() }}|{{ [1, 2][0] }}|{{ {'a': [1]}['a'][0] }}|{{ (1, 2)[1] }}|{{ -xs[0] }}|{{ -1|abs }}|{{ 2 ** -1|abs }}
{{ -xs|first }}
{{ messages[-1].tool_calls[0].function.arguments|tojson }}|{{ messages[0]['role'] == 'system' }}|{{ messages[1:]|length }}|{{ messages[2].content is none }}|{{ messages|length - 1 }}
{% set m = messages[0] %}{{ m.content|trim }}|{{ m['content'] + '!' }}|{{ m.get('name', 'anon') }}|{{ 'tool_calls' in m }}|{{ m.tool_calls is defined and m.tool_calls }}
{{ messages[2]['content'] + 'x' }}
{{ messages[9].role }}
{{ messages[2].content|trim }}|{{ messages[2].content or '' }}|{{ messages[2].content is string }}
{{ 'a' if messages[2].tool_calls else 'b' }}|{{ messages[2].tool_calls|length > 0 and messages[2].tool_calls is iterable }}|{{ messages[2].tool_calls is string }}
a⏎{% if true %}⏎b⏎{% endif %}⏎c
a⏎  {% if true %}⏎  b⏎  {% endif %}  ⏎c
a⏎  {%- if true -%}⏎  b⏎  {%- endif -%}  ⏎c
a⏎  {%+ if true %}⏎  b⏎  {%+ endif +%}⏎c
a⏎  {{ n }}⏎  {{- n }}⏎  {{ n -}}⏎  c
  {% if true %}x{% endif %}⏎ y {% if true %}z{% endif %}⏎
{# c #}⏎x {# d #}⏎  {# e #}⏎y
{%- for x in xs -%}⏎  {{ x }},⏎{%- endfor -%}
⏎⏎{{ n }}⏎⏎
{{ n }}⏎
{% set x = 1 -%}⏎⏎   a
a  {%- set x = 1 %}⏎  b
a⏎	{% if t %}⏎	x⏎	{% endif %}⏎
{{ 'a⏎b' }}
{{ "{{ x }}" }}|{{ '{% if %}' }}|{{ '#}' }}|{{ '}}' }}|{{ {'a': {'b': 1}}['a']['b'] }}|{{ {'a': {}} }}
{{ {'a': {'b': {}}} }}|{{- {'a': 1}['a'] -}}|{%- if {'a': 1} %}x{% endif %}
{% print n %}|{% print n, s %}|{% print 1 %}
{{ n }}{{ s }}{{- n -}} x {{- s }}
{% include 'x' %}
{% import 'x' as y %}
{% from 'x' import y %}
{% extends 'x' %}
{% if n == 7 and s == 'Hello, World' and not no %}ok{% endif %}|{% if n in [7] and 'a' not in d or no %}x{% else %}y{% endif %}|{{ n not in xs }}|{{ not n in xs }}
{{ [1, 2, 3]|map('string')|join(', ') ~ '!' }}|{{ ([1, 2]|length) * 2 }}|{{ [1, 2]|length * 2 }}|{{ 'a,b'.split(',')|join(';')|upper }}|{{ xs|sort|first }}|{{ (xs|sort)[0] }}|{{ xs|sort|map('string')|join }}
{{ namespace is callable }}|{{ namespace(a=1) == namespace(a=1) }}|{{ dict is callable }}
{% set ns = namespace(x=[]) %}{% for m in messages %}{% set ns.x = ns.x + [m.role] %}{% endfor %}{{ ns.x }}|{% set acc = namespace(s='') %}{% for c in 'abc' %}{% set acc.s = c ~ acc.s %}{% endfor %}{{ acc.s }}
{{ 'x' * 3 ~ 'y' }}|{{ 'a' < 'b' < 'c' }}|{{ 'abc' > 'ab' }}|{{ '' < 'a' }}|{{ 'é' > 'z' }}|{{ '🙂' > '\uffff' }}
{{ 1.0 == 1 and 1.0 is float }}|{{ 5 // 2.0 }}|{{ 5.0 // 2 }}|{{ 2 ** 2.0 }}|{{ 10 % 3.5 }}|{{ 1e308 * 10 }}|{{ -1e308 * 10 }}|{{ 5 % 1e400 }}|{{ -5 % 1e400 }}
{{ (1e400)|int }}|{{ '9' * 30 }}|{{ ('9' * 30)|int + 1 }}
{{ 2 ** 20000 }}
{{ ('9' * 5000)|int }}
{{ [] is sameas [] }}|{{ () is sameas () }}|{{ 'a' is sameas 'a' }}|{{ none is sameas missing }}
{{ d.items() == d.items() }}|{{ xs == xs|list }}|{{ xs|list is sameas xs }}
{{ d|tojson|length }}|{{ d|string|length }}|{{ (d|tojson)[0] }}|{{ d|tojson|replace('"', "'") }}|{{ (d|tojson).startswith('{') }}|{{ (s|tojson)[1:-1] }}
{{ loop_ }}|{{ super is defined }}
{% set x = {'a': 1, **d} %}
{% set f = 'abc'.upper %}{{ f() }}|{% set g = d.get %}{{ g('a') }}|{{ [].count is defined }}|{{ (d.items)()|list|length }}
{{ ns.x if ns is defined and ns.x is defined else 'nope' }}|{{ (missing or {}).get('a', 1) }}|{{ (missing|default({})).a is defined }}|{{ missing is defined and missing.x }}
{{ people|map(attribute='name')|map('lower')|select('in', ['ann', 'cy'])|list }}|{{ people|map('attr', 'name')|list }}|{{ [{'a': {'b': 1}}]|map(attribute='a.b')|list }}
{{ [3, 1]|sort is sequence }}|{{ 'b' in ['a', 'b']|map('upper')|map('lower')|list }}|{{ 'x' in missing }}|{{ missing in [1] }}
{{ "%.2f"|format(3.14159) }}|{{ "%d items"|format(3) }}|{{ '%s'|format(none) }}|{{ '%5.1f%%'|format(12.345) }}
{{ '\u00e9' == 'é' }}|{{ '\n'|length }}|{{ '\\n'|length }}|{{ 'a\'b"c' }}|{{ "tab\there" }}|{{ '\x7f'|tojson }}|{{ ['\x7f', '\xad', '\u2028'] }}
"""


def snippets():
    """The snippets: lines, cut between expressions, line breaks restored."""
    out = []
    for text in SNIPPETS.split("\n"):
        parts = [text]
        if "{%" not in text and "⏎" not in text:
            parts = text.replace("}}|{{", "}}\n{{").split("\n")
        out.extend(part.replace("⏎", "\n") for part in parts if part)
    return out
