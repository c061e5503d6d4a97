"Everything about the package is stated in settings.ini; this file only hands it to setuptools."
import shlex
from configparser import ConfigParser
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
config = ConfigParser(delimiters=['='])
config.read(here/'settings.ini', encoding='utf-8')
cfg = config['DEFAULT']
words = lambda key: shlex.split(cfg.get(key, ''))
readme = here/'README.md'

setup(
    name=cfg['lib_name'], version=cfg['version'], description=cfg['description'], keywords=cfg['keywords'],
    author=cfg['author'], author_email=cfg['author_email'], license='Apache-2.0', url=cfg['git_url'],
    long_description=readme.read_text(encoding='utf-8') if readme.exists() else '', long_description_content_type='text/markdown',
    packages=find_packages(include=[cfg['lib_path'], cfg['lib_path']+'.*']), include_package_data=True,
    package_data={cfg['lib_path']: ['weights/*']},
    python_requires='>='+cfg['min_python'], install_requires=words('requirements'), extras_require={key.removesuffix('_requirements'): words(key) for key in cfg if key.endswith('_requirements')},
    entry_points={'console_scripts': words('console_scripts'), 'nbdev': [f"{cfg['lib_path']}={cfg['lib_path']}._modidx:d"]},
    classifiers=['License :: OSI Approved :: Apache Software License', 'Programming Language :: Python :: 3', 'Intended Audience :: Developers'],
)
