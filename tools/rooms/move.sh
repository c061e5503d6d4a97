cd $1; export PYTHONPATH=$PWD PATH=/work/main/.venv/bin:$PATH
python /tmp/t/rooms.py $PWD; nbdev_export 2>&1 | tail -2; python /tmp/t/prune.py $PWD; nbdev_export; python /tmp/t/order.py $PWD; ruff check ftkit tests --output-format concise | tail
python -W error::DeprecationWarning -c "import ftkit
for n in ftkit.__all__: getattr(ftkit, n)
print(len(ftkit.__all__), 'names')"
python -c "
import warnings; warnings.simplefilter('always')
from ftkit.spans import Span
from ftkit.data.extract import AnnotationPolicy
from ftkit.telemetry import PhoenixProvider
from ftkit.registry import AdapterRegistry
from ftkit.backends.local import LocalPlace
from ftkit.core import InstructionExample
import ftkit.plan
print(ftkit.plan.Plan)"
