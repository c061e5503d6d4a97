"The approval panel in a real JupyterLab, driven by Chromium: clicks, every key, bulk, restart. `tools/browser.sh` installs what it needs."
import importlib.util, json, os, shutil, socket, subprocess, sys, time, urllib.request
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
NODE = ROOT/'build'/'browser'/'node_modules'
pytestmark = pytest.mark.browser

def missing():
    if not (os.environ.get('CHROMIUM') or shutil.which('chromium')): return 'chromium'
    if not shutil.which('node'): return 'node'
    if not (NODE/'playwright-core').is_dir(): return 'playwright-core'
    return next((m for m in ('anywidget', 'jupyterlab', 'ipykernel') if importlib.util.find_spec(m) is None), None)

CELLS = ['''from ftkit.records import InstructionExample
from ftkit.data.decisions import ApprovalBatch, ReviewItem
from ftkit.panels.approval import approval_panel''', '''html = ' <img src=x onerror="window.hacked=1">'
items = [ReviewItem(f'i{k:02}', InstructionExample('Route.', f'question {k}'+html*(k==0), 'orders', dict(synthetic=True)), k/30, 'orders') for k in range(30)]
approval_panel(ApprovalBatch('b', items, context=dict(guidelines='One agent for each request.', reasons=['two agents'])), 'ana')''', '# Below', 'print("end")']

@pytest.fixture
def lab(tmp_path):
    "A JupyterLab of its own with one notebook; its address."
    if what := missing(): pytest.skip(f'{what} is not here; tools/browser.sh installs it')
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, writes
    (tmp_path/'nb').mkdir()
    nb = new_notebook(cells=[new_markdown_cell(c) if c.startswith('# ') else new_code_cell(c) for c in CELLS], metadata=dict(kernelspec=dict(name='python3', display_name='Python 3 (ipykernel)', language='python'), language_info=dict(name='python')))
    (tmp_path/'nb'/'review.ipynb').write_text(writes(nb))
    quiet = tmp_path/'settings'/'@jupyterlab'/'apputils-extension'/'notification.jupyterlab-settings'
    quiet.parent.mkdir(parents=True)
    quiet.write_text('{"fetchNews": "false", "checkForUpdates": false}')
    with socket.socket() as s: s.bind(('127.0.0.1', 0)); port = s.getsockname()[1]
    env = {**os.environ, 'FTKIT_HOME': str(tmp_path/'home'), 'PYTHONPATH': str(ROOT), **{f'JUPYTER_{k}_DIR': str(tmp_path/k) for k in ('CONFIG', 'DATA', 'RUNTIME')}, 'JUPYTER_PREFER_ENV_PATH': '1', 'JUPYTERLAB_SETTINGS_DIR': str(tmp_path/'settings')}
    args = ['--no-browser', '--allow-root', '--ip=127.0.0.1', f'--port={port}', '--ServerApp.port_retries=0', '--IdentityProvider.token=', '--LabApp.expose_app_in_browser=True', '--LabApp.news_url=None',
            '--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate', f'--ServerApp.root_dir={tmp_path/"nb"}']
    with open(tmp_path/'lab.log', 'w') as log: p = subprocess.Popen([sys.executable, '-m', 'jupyter', 'lab', *args], env=env, stdout=log, stderr=log, cwd=tmp_path)
    url = f'http://127.0.0.1:{port}'
    for _ in range(240):
        try: urllib.request.urlopen(f'{url}/api/status', timeout=2); break
        except OSError: time.sleep(.25)
        if p.poll() is not None: pytest.fail((tmp_path/'lab.log').read_text()[-2000:])
    yield f'{url}/lab/tree/review.ipynb?reset'
    p.terminate()
    try: p.wait(15)
    except subprocess.TimeoutExpired: p.kill()

STEPS = ['panel is there', 'content is escaped', 'click', 'keys a r s u', 'keys left right', 'key ?', 'key e, typing, ctrl+enter', 'escape leaves the field and loses no letter', 'reason', 'a held key counts once',
         'five quick clicks count once', 'no key reaches the notebook', 'filter', 'key t, table, pages', 'bulk, confirmed, undone in one step', 'kernel restart and resume', 'saved']

def test_the_panel_in_a_real_browser(lab, tmp_path):
    art = Path(os.environ.get('FTKIT_ARTEFACTS') or ROOT/'build'/'artefacts'); art.mkdir(parents=True, exist_ok=True)
    r = subprocess.run(['node', ROOT/'tests'/'browser'/'panel.js', lab, art/'panel.png'], env={**os.environ, 'NODE_PATH': str(NODE)}, capture_output=True, text=True, timeout=240)
    res = json.loads(r.stdout.strip().splitlines()[-1]) if r.stdout.strip() else dict(failed=r.stderr[-2000:], done=[], errors=[], outside=[])
    assert res['failed'] is None, (res['failed'], res['done'], (tmp_path/'lab.log').read_text()[-1500:])
    assert res['done']==STEPS and res['errors']==[] and res['outside']==[]
    assert (art/'panel.png').stat().st_size>20_000

    from ftkit.data.approval import ApprovalStore
    store = ApprovalStore(f'sqlite:///{tmp_path}/home/approvals/approvals.db')
    stands = {i.item_id: (i.status, i.edited) for i in store.load('b').items if i.status!='pending'}
    assert stands=={'i00': ('approved', None), 'i01': ('approved', None), 'i02': ('rejected', None), 'i03': ('edited', 'raus, said by hand'), 'i04': ('rejected', None),
                    'i05': ('approved', None), 'i06': ('approved', None), 'i07': ('approved', None)} or pytest.fail(str(stands))
    log = store.decisions('b')
    assert [d.edited for d in log if d.action=='edit']==['raus, said by hand', 'ordersxyz'] and {d.reason for d in log if d.item_id=='i04' and d.action=='reject'}=={'two agents'}
    assert all(d.seconds and d.seconds>=.1 for d in log if d.action!='undo' and d.seconds is not None) and {d.reviewer for d in log}=={'ana'}
    nb = json.loads((tmp_path/'nb'/'review.ipynb').read_text())
    shown = nb['cells'][1]['outputs'][0]['data']
    assert 'application/vnd.jupyter.widget-view+json' in shown and '7/30' in ''.join(shown['text/html']) and '<img' not in ''.join(shown['text/html'])
    print(res['seconds'])
