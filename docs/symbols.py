"What a module offers, read from its source without importing it: signatures, the comment beside each parameter, and where it stands."
import ast, copy, io, tokenize
from dataclasses import dataclass, field


@dataclass
class Symbol:
    "A function, class, method or property."
    module:str # dotted, e.g. `ftkit.data.clean`
    name:str # within the module, e.g. `RecordDataset.keep`
    kind:str # as Sphinx's Python domain calls it
    node:ast.AST
    signature:str = ''
    doc:str = ''
    params:list = field(default_factory=list) # (name, type, default, meaning)
    returns:tuple = ('', '') # type, meaning
    bases:list = field(default_factory=list)
    methods:list = field(default_factory=list)

    full = property(lambda self: f'{self.module}.{self.name}')
    line = property(lambda self: self.node.lineno)


def comments(source):
    "Line number -> the comment on that line."
    return {t.start[0]: t.string.lstrip('# ').strip() for t in tokenize.generate_tokens(io.StringIO(source).readline) if t.type==tokenize.COMMENT}

def text_of(node):
    "Source of an expression, without the limits that only the validator reads."
    if isinstance(node, ast.Subscript) and getattr(node.value, 'id', '')=='Annotated': return text_of(node.slice.elts[0])
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr): return f'{text_of(node.left)}|{text_of(node.right)}'
    return ast.unparse(node) if node is not None else ''

def limits(node):
    "Accepted range of an annotated field, e.g. `1 to 256`."
    call = next((n for n in ast.walk(node) if isinstance(n, ast.Call) and getattr(n.func, 'id', '')=='Field'), None)
    words = dict(ge='at least', gt='more than', le='at most', lt='less than')
    return ', '.join(f'{words[k.arg]} {ast.unparse(k.value)}' for k in call.keywords if k.arg in words) if call else ''

def short(node, most=40):
    "A default as it fits into a signature."
    said = text_of(node)
    return said if len(said)<=most else '...'

def arguments(fn):
    "(argument node, default or `None`, stars) of a function in order, without self and cls."
    a = fn.args
    plain = [*a.posonlyargs, *a.args]
    defaults = [None]*(len(plain)-len(a.defaults))+a.defaults
    out = [*zip(plain, defaults, ['']*len(plain)), *([(a.vararg, None, '*')] if a.vararg else []), *zip(a.kwonlyargs, a.kw_defaults, ['']*len(a.kwonlyargs)), *([(a.kwarg, None, '**')] if a.kwarg else [])]
    return [t for t in out if t[0].arg not in ('self', 'cls')]

def signature(fn):
    "Names and defaults; types stand in the table below it."
    a = copy.deepcopy(fn.args)
    for arg in (*a.posonlyargs, *a.args, *a.kwonlyargs, a.vararg, a.kwarg):
        if arg: arg.annotation = None
    for side in (a.posonlyargs, a.args): side[:] = [x for x in side if x.arg not in ('self', 'cls')]
    cut = lambda d: d if d is None or len(ast.unparse(d))<=40 else ast.Constant(...)
    a.defaults, a.kw_defaults = [cut(d) for d in a.defaults], [cut(d) for d in a.kw_defaults]
    return f'({ast.unparse(a)})'

def described(fn, notes):
    "Parameters and return value of a function, with the comment beside each."
    args = arguments(fn)
    lines = [arg.lineno for arg,_,_ in args]
    params = [(stars+arg.arg, text_of(arg.annotation), text_of(d), notes.get(arg.lineno, '') if lines.count(arg.lineno)==1 and arg.lineno!=fn.lineno else '') for arg,d,stars in args]
    last = max([n for n in range(fn.lineno, fn.body[0].lineno+1) if n in notes and (n not in lines or n==fn.lineno)], default=None)
    return params, (text_of(fn.returns), notes.get(last, ''))

def fields(cls, notes, known):
    "Annotated fields of a class and of its private bases: a table of what it holds."
    out = [f for b in reversed(cls.bases) if (base := known.get(getattr(b, 'id', None))) and base.name.startswith('_') for f in fields(base, notes, known)]
    for n in cls.body:
        if not isinstance(n, ast.AnnAssign) or n.target.id.startswith('_'): continue
        said = '; '.join(filter(None, [notes.get(n.lineno, ''), limits(n.annotation)]))
        out.append((n.target.id, text_of(n.annotation), text_of(n.value), said))
    return out

def decorators(node): return {text_of(d).split('(')[0] for d in node.decorator_list}

def function(node, module, notes, within=''):
    "A function or method as a symbol."
    owner = within
    if 'patch' in decorators(node) and node.args.args: owner = text_of(node.args.args[0].annotation)
    kind = 'property' if {'property', 'cached_property'} & decorators(node) else 'method' if owner else 'function'
    params, returns = described(node, notes)
    return Symbol(module, f'{owner}.{node.name}' if owner else node.name, kind, node, '' if kind=='property' else signature(node), ast.get_docstring(node) or '', params, returns)

FUNCTION = (ast.FunctionDef, ast.AsyncFunctionDef)

def class_(node, module, notes, known):
    "A class as a symbol, with its public methods."
    held = fields(node, notes, known)
    init = next((f for f in node.body if isinstance(f, FUNCTION) and f.name=='__init__'), None)
    s = Symbol(module, node.name, 'exception' if any(text_of(b).endswith(('Error', 'Exception', 'Waiting')) for b in node.bases) else 'class', node, doc=ast.get_docstring(node) or '')
    s.bases = [text_of(b) for b in node.bases if not text_of(b).startswith('_')]
    documented = init and init.args.args[1:] and not held
    if documented: s.params, s.signature = described(init, notes)[0], signature(init)
    else: s.params = held
    public = lambda f: not f.name.startswith('_') or (f.name=='__call__' and ast.get_docstring(f))
    s.methods = [function(f, module, notes, node.name) for f in node.body if isinstance(f, FUNCTION) and public(f)]
    for n in node.body: # `share = property(lambda self: ...)`
        if isinstance(n, ast.Assign) and isinstance(n.value, ast.Call) and text_of(n.value.func)=='property' and isinstance(n.targets[0], ast.Name):
            s.methods.append(Symbol(module, f'{node.name}.{n.targets[0].id}', 'property', n, doc=notes.get(n.lineno, '')))
    return s

def is_alias(node, classes):
    "Does a line give a class of the page a second public name?"
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Name): return False
    target = node.targets[0]
    return node.value.id in classes and isinstance(target, ast.Name) and not target.id.startswith('_')

def symbols(path, module):
    "Public functions and classes of a module, in order."
    source = path.read_text(encoding='utf-8')
    notes, tree = comments(source), ast.parse(source)
    known = {n.name: n for n in tree.body if isinstance(n, ast.ClassDef)}
    out = []
    for n in tree.body:
        if isinstance(n, ast.ClassDef) and not n.name.startswith('_'): out.append(class_(n, module, notes, known))
        if isinstance(n, FUNCTION) and not n.name.startswith('_'): out.append(function(n, module, notes))
        if is_alias(n, known): out.append(Symbol(module, n.targets[0].id, 'class', n, doc=f'Another name for `{n.value.id}`.'))
    return out
