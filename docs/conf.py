"Sphinx settings; `docs/build.py` writes the sources."
from pathlib import Path

from pages import settings

project, author, version = settings['title'], settings['author'], settings['version']
copyright = settings['copyright']
extensions = ['myst_nb', 'sphinx_copybutton']
nb_execution_mode = 'off'
nb_render_markdown_format = 'myst' # outputs have tables
myst_enable_extensions = ['colon_fence', 'attrs_block', 'attrs_inline']
nitpicky = True # a link between names that leads nowhere is an error
smartquotes = False # commands to copy stand in prose too
add_module_names = False
toc_object_entries_show_parents = 'hide'
pygments_style, pygments_dark_style = 'friendly', 'monokai'
html_theme, html_title = 'furo', f'ftkit {version}'
html_static_path, html_css_files = [str(Path(__file__).parent/'_static')], ['ftkit.css']
green = {'color-brand-primary': '#2d6a4f', 'color-brand-content': '#2d6a4f', 'color-brand-visited': '#2d6a4f'}
pale = dict.fromkeys(green, '#74c69d')
html_theme_options = dict(light_css_variables=green, dark_css_variables=pale)
html_favicon = str(Path(__file__).parent/'_static'/'favicon.svg')
html_copy_source = False
html_show_sphinx = False
