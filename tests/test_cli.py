"The command line: results for programs, one line for mistakes, no traceback."
import json, subprocess, sys

import pytest
from typer.testing import CliRunner

from ftkit.cli import app
from ftkit.telemetry.server import free_port

run = CliRunner().invoke

def test_help_answers_without_the_heavy_modules():
    code = "import sys; from ftkit.cli import app\ntry: app(['--help'])\nexcept SystemExit: pass\nassert not {'torch', 'transformers', 'pandas', 'phoenix'} & set(sys.modules)"
    subprocess.run([sys.executable, '-c', code], check=True, stdout=subprocess.DEVNULL)

@pytest.mark.parametrize('args,words', [
    (['train'], 'which project?'),
    (['train', '--project', 'p', '--agent-type', 'a', '--set', 'epochs=0'], 'epochs: got 0, needed integer from 1 to 1,000'),
    (['train', '--project', 'p', '--agent-type', 'a', '--set', 'lora_rank=8'], 'lora_rank: there is no such field; did you mean lora_r?'),
    (['train', '--project', 'p', '--agent-type', 'a', '--config', 'no-such.yaml'], 'there is no configuration file no-such.yaml'),
    (['train', '--project', 'p', '--agent-type', 'a', '--file', 'no-such-folder'], 'no-such-folder does not exist'),
    (['train', '--resume', 'no-such-run'], "there is no run 'no-such-run'"),
    (['adapters', 'activate', 'ad-nothing'], 'ad-nothing'),
    (['adapters', '--tenant', '../etc'], 'is not usable'),
])
def test_a_mistake_is_a_message_and_exit_code_2(args, words):
    result = run(app, args)
    assert result.exit_code==2 and words in result.stderr and 'Traceback' not in result.output

def test_phoenix_not_running_is_one_clear_line(tmp_path):
    result = run(app, ['train', '--project', 'p', '--agent-type', 'a', '--base-model', 'ftkit-tiny', '--endpoint', f'http://127.0.0.1:{free_port()}', '--set', f'output_dir={tmp_path}'])
    assert result.exit_code==2 and '127.0.0.1' in result.stderr and 'Traceback' not in result.output

def test_an_unknown_project_names_those_that_exist(phoenix_server, tmp_path):
    result = run(app, ['train', '--project', 'no-such-project', '--agent-type', 'a', '--base-model', 'ftkit-tiny', '--endpoint', phoenix_server.endpoint, '--set', f'output_dir={tmp_path}'])
    assert result.exit_code==2 and 'no-such-project' in result.stderr and 'default' in result.stderr

def test_a_config_file_gives_fields_and_the_command_line_wins(tmp_path):
    (tmp_path/'plan.yaml').write_text('project: p\nagent_type: a\nepochs: 0\nbatch_size: 0\n')
    result = run(app, ['train', '--config', str(tmp_path/'plan.yaml'), '--set', 'epochs=2'])
    assert result.exit_code==2 and 'batch_size: got 0' in result.stderr and 'epochs' not in result.stderr

def test_json_output_is_json_and_nothing_else(fresh_home):
    result = run(app, ['adapters', '--tenant', 'acme', '--json'])
    assert result.exit_code==0 and json.loads(result.stdout)==[]

def test_sync_sends_what_was_kept_and_says_so(phoenix_server, tmp_path):
    from test_experiment import run_folder
    run_folder(tmp_path, plan=dict(project='cli-sync'))
    first, again = (run(app, ['sync', '--output-dir', str(tmp_path), '--endpoint', phoenix_server.endpoint]) for _ in range(2))
    assert first.stdout=='sft_routing_20260131_120000: 5 spans\n' and again.stdout=='nothing to send\n'
    run_folder(tmp_path, 'sft_routing_20260131_130000')
    away = run(app, ['sync', '--output-dir', str(tmp_path), '--endpoint', f'http://127.0.0.1:{free_port()}'])
    assert away.exit_code==2 and 'no Phoenix answers' in away.stderr
