"How dense the exported code is: a table of measures, and the limits that `make test` holds. Usage: house.py [--pages] [FOLDER OR MODULE ...]"
import ast, io, json, re, sys, tokenize
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
SKIPPED = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER, tokenize.ENCODING)

LIMITS = { # measure -> (today's ceiling, where it has to come to); a ceiling only goes down
    'lines over 120, %': (8.6, 2),
    'lines over 140, %': (5.2, 0),
    'tokens a line, p90': (28, 22),
    'comprehensions a 100 lines': (10.0, 6),
    'nested ones': (1.5, .2),
    'lambdas a 100 lines': (2.2, .6),
    'longest function, lines': (42, 30),
    'parameters without a type, %': (64, 10),
    'public definitions never called on a page, %': (48, 10),
}

def docstring_lines(
    tree:ast.Module, # of one file
) -> set: # of line numbers
    "The lines that hold docstrings."
    lines = set()
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Module, ast.ClassDef, *FUNCTIONS)): continue
        if not ast.get_docstring(node, clean=False): continue
        lines.update(range(node.body[0].lineno, node.body[0].end_lineno+1))
    return lines

def text_lines(
    tree:ast.Module, # of one file
) -> set: # of line numbers
    "The lines that are one text for people, and nothing else."
    lines = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Constant, ast.JoinedStr)) and isinstance(getattr(node, 'value', ''), str):
            lines.update(range(node.lineno, node.end_lineno+1))
    return lines

def code_lines(
    source:str, # of one file
) -> dict: # line number -> (its text without comment, its tokens)
    "The lines of code, without docstrings, comments and what nbdev adds."
    tree = ast.parse(source)
    hidden, texts, counts, ends = docstring_lines(tree), source.splitlines(), {}, {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in SKIPPED: continue
        for n in range(token.start[0], token.end[0]+1):
            if n in hidden: continue
            counts[n] = counts.get(n, 0)+(n==token.start[0])
            ends[n] = token.end[1] if n==token.end[0] else len(texts[n-1])
    lines = {n: (texts[n-1][:ends[n]], counts[n]) for n in counts}
    return {n: line for n,line in lines.items() if not line[0].startswith('__all__')}

@dataclass
class Counts:
    "What is counted in the files of a package."
    lines:list = field(default_factory=list) # (width, tokens, is it one text on its own line?)
    comprehensions:int = 0
    nested:int = 0 # comprehensions with another one inside, or with two `for`
    lambdas:int = 0
    parameters:int = 0
    typed:int = 0 # parameters with a type
    longest:int = 0 # lines of the longest function

    def add(self, source:str):
        "Count one file."
        tree, lines = ast.parse(source), code_lines(source)
        told = text_lines(tree)
        for n,(text,tokens) in lines.items():
            self.lines.append((len(text), tokens, n in told and tokens<=2))
        for node in ast.walk(tree):
            if isinstance(node, COMPREHENSIONS): self.add_comprehension(node)
            if isinstance(node, ast.Lambda): self.lambdas += 1
            if isinstance(node, FUNCTIONS): self.add_function(node, lines)

    def add_comprehension(self, node):
        inside = [n for n in ast.walk(node) if isinstance(n, COMPREHENSIONS) and n is not node]
        self.comprehensions += 1
        self.nested += bool(inside) or len(node.generators)>1

    def add_function(self, node, lines):
        known = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
        named = [p for p in known if p.arg not in ('self', 'cls')]
        self.parameters += len(named)
        self.typed += sum(p.annotation is not None for p in named)
        self.longest = max(self.longest, sum(node.lineno<=n<=node.end_lineno for n in lines))

def public_definitions(
    source:str, # of one module
) -> list: # of names
    "The functions and classes in `__all__`."
    tree, listed = ast.parse(source), []
    for node in tree.body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], 'id', '')=='__all__': listed = ast.literal_eval(node.value)
    defined = {n.name for n in tree.body if isinstance(n, (ast.ClassDef, *FUNCTIONS))}
    return [n for n in listed if n in defined]

def names_used(
    source:str, # of one cell
) -> set:
    "Every name that a cell calls or mentions."
    bare = re.sub(r'^\s*[%!].*$', '', source, flags=re.M)
    try: nodes = list(ast.walk(ast.parse(bare)))
    except SyntaxError: return set()
    return {n.id for n in nodes if isinstance(n, ast.Name)} | {n.attr for n in nodes if isinstance(n, ast.Attribute)}

def unseen(
    page:Path, # a notebook
    module:Path, # what it exports
) -> tuple: # names that no example of the page uses; how many public names there are
    "Public definitions that their page never shows."
    cells = [''.join(c['source']) for c in json.loads(page.read_text())['cells'] if c['cell_type']=='code']
    examples = [s for s in cells if not s.startswith('#| export')]
    used, public = set().union(*map(names_used, examples)), public_definitions(module.read_text())
    return [n for n in public if n not in used], len(public)

def modules_of(folder:Path) -> list:
    "The modules of a package that pages export."
    return [p for p in sorted(folder.rglob('*.py')) if not p.name.startswith('_')]

def page_of(module:Path) -> Path:
    "The notebook that a module is exported from."
    found = re.search(r'File to edit: (\S+\.ipynb)', module.read_text())
    return (module.parent/found[1]).resolve()

def measures(
    modules:list, # of paths
) -> dict: # measure -> number
    "The measures of some modules."
    counts, hidden, public = Counts(), 0, 0
    for module in modules:
        counts.add(module.read_text())
        names, n = unseen(page_of(module), module)
        hidden, public = hidden+len(names), public+n
    lines = len(counts.lines)
    tokens = sorted(t for _,t,_ in counts.lines)
    wide = [w for w,_,alone in counts.lines if not alone]
    def share(n): return round(100*n/lines, 1)
    return {
        'lines over 120, %': share(sum(w>120 for w,*_ in counts.lines)),
        'lines over 140, %': share(sum(w>140 for w in wide)),
        'tokens a line, p90': tokens[int(.9*lines)],
        'comprehensions a 100 lines': share(counts.comprehensions),
        'nested ones': share(counts.nested),
        'lambdas a 100 lines': share(counts.lambdas),
        'longest function, lines': counts.longest,
        'parameters without a type, %': round(100-100*counts.typed/max(counts.parameters, 1), 1),
        'public definitions never called on a page, %': round(100*hidden/max(public, 1), 1),
    }

def print_pages(modules:list):
    "One row a page: the measures in the order of the table, and what the page never shows."
    for module in modules:
        names, _ = unseen(page_of(module), module)
        print(f'{module.stem:16}', *(f'{v:6}' for v in measures([module]).values()), ' '.join(names))

if __name__=='__main__':
    given = [Path(a) for a in sys.argv[1:] if not a.startswith('-')] or [ROOT/'ftkit']
    modules = [m for g in given for m in ([g] if g.is_file() else modules_of(g))]
    if '--pages' in sys.argv: print_pages(modules)
    for name,value in measures(modules).items():
        ceiling, aim = LIMITS[name]
        print(f'{name:46} {value:6} of at most {ceiling}, aiming at {aim}')
