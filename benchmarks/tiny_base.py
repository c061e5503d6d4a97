"""How well `ftkit-tiny` learns: routing CLINC150 queries to their 10 domains. Usage: python benchmarks/tiny_base.py [--rows 500 2000 8000]

LoRA (r=16, all linear layers) on the pre-trained base, beside the same LoRA on an untrained model of the same shape, full
fine-tuning, and TF-IDF + logistic regression on the same rows. An answer is the label with the highest probability, end of turn included.
Data: CLINC150 (Larson et al., EMNLP 2019), CC BY 3.0, read from `../shared/data` or $FTKIT_DATA; none of it is part of the project.
"""
import argparse, json, os, platform, random, time
from collections import Counter
from pathlib import Path

import torch

from ftkit.core import FtkitError, file_hash
from ftkit.disk import read_jsonl, write_json
from ftkit.model.load import Model
from ftkit.model.score import score_labels

HERE = Path(__file__).resolve().parent
DATA = Path(os.environ.get('FTKIT_DATA', HERE.parent.parent/'shared/data'))/'clinc150'


def clinc(rows, tests=1000, seed=0):
    "The first `rows` of one shuffled training set, and `tests` shuffled test queries, as (text, domain)."
    if not DATA.exists(): raise FtkitError(f'{DATA} is missing: put CLINC150 there, or name its parent folder in FTKIT_DATA')
    domain = {i: d.replace('_', ' ') for d,intents in json.loads((DATA/'domains.json').read_text()).items() for i in intents}
    queries = read_jsonl(DATA/'queries.jsonl.gz')
    def split(name):
        out = [(q['text'], domain[q['intent']]) for q in queries if q['split']==name]
        random.Random(seed).shuffle(out)
        return out
    return split('train')[:rows], split('test')[:tests], sorted(set(domain.values()))


def messages_of(text, labels):
    return [dict(role='system', content=f'Route the request to one of: {", ".join(labels)}.'), dict(role='user', content=text)]


def one_row(pairs, device):
    "Prompts and answers as one row `[shared prefix | rest 1 | rest 2 ...]`: what all prompts begin with is computed once, and no rest sees another."
    n = len(os.path.commonprefix([p for p,_ in pairs]))
    ids, positions, group, labels = list(pairs[0][0][:n]), list(range(n)), [-1]*n, [-100]*n
    for g,(p,a) in enumerate(pairs):
        rest = p[n:]+a
        ids += rest; positions += range(n, n+len(rest)); group += [g]*len(rest); labels += [-100]*(len(rest)-len(a))+a
    ids, positions, group, labels = (torch.tensor(x, device=device) for x in (ids, positions, group, labels))
    seen = torch.ones(len(ids), len(ids), dtype=torch.bool, device=device).tril() & ((group[:,None]==group) | (group==-1))
    return ids[None], positions[None], torch.zeros(seen.shape, device=device).masked_fill(~seen, torch.finfo(torch.bfloat16).min)[None,None], labels


def answer_loss(model, ids, positions, mask, labels):
    "Mean negative log-likelihood of the answers' tokens; the head runs on those only."
    net = model.get_base_model() if hasattr(model, 'get_base_model') else model
    at = labels[1:]!=-100
    hidden = net.get_decoder()(input_ids=ids, position_ids=positions, attention_mask=mask).last_hidden_state[0,:-1][at]
    return torch.nn.functional.cross_entropy(net.get_output_embeddings()(hidden).float(), labels[1:][at])


def train(model, tok, rows, labels, lr, epochs, batch=16, seed=0, device='cpu'):
    answers = {l: tok(l+tok.eos_token)['input_ids'] for l in labels}
    data = [(tok.apply_chat_template(messages_of(t, labels), add_generation_prompt=True)['input_ids'], answers[l]) for t,l in rows]
    params = [p for p in model.parameters() if p.requires_grad]
    opt, steps, rng = torch.optim.AdamW(params, lr=lr, weight_decay=0.), -(-len(data)//batch)*epochs, random.Random(seed)
    sched = torch.optim.lr_scheduler.LambdaLR(opt, lambda s: min((s+1)/max(.05*steps, 1), max(0., (steps-s)/steps)))
    model.train()
    for _ in range(epochs):
        rng.shuffle(data)
        for i in range(0, len(data), batch):
            with torch.autocast(device, torch.bfloat16): loss = answer_loss(model, *one_row(data[i:i+batch], device))
            loss.backward()
            torch.nn.utils.clip_grad_norm_(params, 1.)
            opt.step(); sched.step(); opt.zero_grad()
    return model.eval()


def predict(model, tok, texts, labels, device='cpu', batch=50):
    "The most probable label of each text, scored as the library scores closed label sets."
    ready, out = Model(model, tok, 'ftkit-tiny'), []
    for i in range(0, len(texts), batch):
        with torch.autocast(device, torch.bfloat16): out += score_labels(ready, [messages_of(t, labels) for t in texts[i:i+batch]], labels).best
    return out


def tfidf(rows, texts):
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    model = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1000))
    return model.fit(*zip(*rows)).predict(texts).tolist()


def score(predicted, truth):
    from scipy.stats import binomtest
    right = sum(p==t for p,t in zip(predicted, truth))
    ci = binomtest(right, len(truth)).proportion_ci(.95, 'wilson')
    return dict(accuracy=right/len(truth), low=round(float(ci.low), 4), high=round(float(ci.high), 4))


def lora(model, r=16):
    from peft import LoraConfig, get_peft_model
    return get_peft_model(model, LoraConfig(r=r, lora_alpha=2*r, target_modules='all-linear', task_type='CAUSAL_LM'))


def base(folder, untrained=False):
    from transformers import AutoConfig, AutoModelForCausalLM
    from ftkit.model.tiny import random_model
    return random_model(AutoConfig.from_pretrained(folder)) if untrained else AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)


def main():
    ap = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    ap.add_argument('--rows', type=int, nargs='+', default=[500, 2000, 8000])
    ap.add_argument('--epochs', type=int, nargs='+', default=[20, 10, 4], help='one for each number of rows')
    ap.add_argument('--batch', type=int, default=16)
    ap.add_argument('--lora-lr', type=float, default=2e-3)
    ap.add_argument('--full-lr', type=float, default=1e-3)
    ap.add_argument('--tests', type=int, default=1000)
    ap.add_argument('--model', help='a model folder; the shipped one by default')
    ap.add_argument('--methods', nargs='+', default=['tfidf', 'adapter', 'untrained', 'full'])
    ap.add_argument('--threads', type=int, default=2)
    ap.add_argument('--out', default=str(HERE/'results/tiny_base.json'))
    a = ap.parse_args()
    from transformers import AutoTokenizer
    from ftkit.model.tiny import tiny_base
    torch.set_num_threads(a.threads)
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    folder = a.model or tiny_base()
    tok = AutoTokenizer.from_pretrained(folder)
    _, test, labels = clinc(0, a.tests)
    texts, truth = zip(*test)
    about = dict(task='CLINC150, 10 domains', tests=len(test), labels=labels, majority_class=round(Counter(truth).most_common(1)[0][1]/len(truth), 4), lora=dict(r=16, alpha=32, targets='all-linear'), batch=a.batch,
                 weights=file_hash(Path(folder)/'model.safetensors')[:16], torch=torch.__version__, python=platform.python_version(), device=torch.cuda.get_device_name() if device=='cuda' else f'{a.threads} CPU threads, bf16 autocast')
    results = []
    def note(method, rows, epochs, lr, predicted, seconds):
        "Every result is on disk as soon as it is there."
        results.append(dict(method=method, rows=rows, epochs=epochs, learning_rate=lr, **score(predicted, truth), train_s=round(seconds, 1)))
        print(results[-1], flush=True)
        write_json(a.out, dict(about, results=results))
    note('base', 0, 0, None, predict(base(folder).eval().to(device), tok, texts, labels, device), 0)
    makers = dict(adapter=(lambda: lora(base(folder)), a.lora_lr), untrained=(lambda: lora(base(folder, untrained=True)), a.lora_lr), full=(lambda: base(folder), a.full_lr))
    for n,epochs in zip(a.rows, a.epochs):
        rows, _, _ = clinc(n)
        for method in a.methods:
            torch.manual_seed(0)
            start = time.perf_counter()
            if method=='tfidf': predicted = tfidf(rows, texts); note(method, n, None, None, predicted, time.perf_counter()-start); continue
            make, lr = makers[method]
            model = train(make().to(device), tok, rows, labels, lr, epochs, a.batch, device=device)
            seconds = time.perf_counter()-start
            note(method, n, epochs, lr, predict(model, tok, texts, labels, device), seconds)


if __name__=='__main__': main()
