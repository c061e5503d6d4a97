// Drives the approval panel in a real JupyterLab. Usage: node panel.js URL SCREENSHOT; prints one JSON line.
const {chromium} = require('playwright-core')
const [url, shot] = process.argv.slice(2)
const done = [], errors = [], outside = new Set(), seconds = {}
const t0 = Date.now()
const step = name => { done.push(name); seconds[name] = (Date.now()-t0)/1000 }
const need = (ok, what) => { if (!ok) throw new Error(what) }

async function main(browser) {
  const page = await browser.newPage({viewport: {width: 1300, height: 950}})
  page.setDefaultTimeout(20000)
  page.on('pageerror', e => errors.push(e.message))
  page.on('crash', () => errors.push('the page crashed'))
  page.on('request', r => { if (!r.url().startsWith(new URL(url).origin) && !/^(data|blob):/.test(r.url()) && !r.url().startsWith(new URL(url).origin.replace('http', 'ws'))) outside.add(r.url()) })
  const run = command => page.evaluate(c => { window.jupyterapp.commands.execute(c) }, command) // not awaited: it ends when the cells have
  const panel = page.locator('.ft-panel')
  const counts = async text => { await page.waitForFunction(t => [...document.querySelectorAll('.ft-counts')].some(x => x.innerText.trim()===t), text).catch(async () => { throw new Error(`expected ${text}, the panel says ${await page.locator('.ft-counts').first().innerText()}`) }) }
  const shows = async text => { await page.waitForFunction(t => [...document.querySelectorAll('.ft-panel pre')].some(x => x.offsetParent && x.innerText.trim()===t), text).catch(() => { throw new Error(`the panel does not show ${text}`) }) }
  const cells = () => page.evaluate(() => [...document.querySelectorAll('.jp-Notebook .jp-Cell')].map(c => c.className.match(/jp-(Code|Markdown|Raw)Cell/)[1]).join())
  const button = name => panel.getByRole('button', {name, exact: true})
  const idle = () => page.waitForFunction(() => window.jupyterapp?.shell.currentWidget?.sessionContext?.session?.kernel?.status==='idle', null, {timeout: 90000})
  const pause = ms => page.waitForTimeout(ms)
  const key = async (k, ...then) => { await pause(300); await idle(); // a key pressed while the kernel still draws is about the item before, and does not count
    await page.keyboard.press(k); for (const t of then) await t }

  await page.goto(url)
  await page.waitForSelector('.jp-Notebook .jp-Cell', {timeout: 60000})
  // run before the session has its kernel, and Lab asks which one to use
  await idle()
  await run('notebook:run-all-cells')
  await page.waitForSelector('.ft-panel[data-keys=on]', {timeout: 60000})
  await counts('0/30')
  const before = await cells()
  step('panel is there')

  need(await page.evaluate(() => window.hacked===undefined && !document.querySelector('.ft-panel pre img')), 'content was obeyed as markup')
  await shows('question 0 <img src=x onerror="window.hacked=1">')
  step('content is escaped')

  await pause(250); await button('Approve (a)').click(); await counts('1/30 · 1 approved'); await shows('question 1')
  step('click')
  await panel.focus()
  await key('a'); await counts('2/30 · 2 approved')
  await key('r'); await counts('3/30 · 2 approved · 1 rejected')
  await key('s'); await counts('4/30 · 2 approved · 1 rejected · 1 skipped')
  await key('u'); await counts('3/30 · 2 approved · 1 rejected'); await shows('question 3')
  step('keys a r s u')
  await key('ArrowRight'); await shows('question 4')
  await key('ArrowLeft'); await shows('question 3')
  step('keys left right')
  await key('?'); await page.waitForFunction(() => /a approve/.test(document.querySelector('.ft-note').innerText))
  step('key ?')

  await key('e'); await page.waitForFunction(() => document.activeElement.tagName==='TEXTAREA')
  await page.keyboard.press('Control+A'); await page.keyboard.type('raus, said by hand')
  await counts('3/30 · 2 approved · 1 rejected')
  await page.waitForSelector('.ft-panel ins')
  await page.keyboard.press('Control+Enter'); await counts('4/30 · 2 approved · 1 edited · 1 rejected')
  step('key e, typing, ctrl+enter')
  await key('e'); await page.waitForFunction(() => document.activeElement.tagName==='TEXTAREA')
  await page.keyboard.press('End'); await page.keyboard.type('xyz'); await page.keyboard.press('Escape'); await page.keyboard.press('a')
  await counts('5/30 · 2 approved · 2 edited · 1 rejected')
  await key('u'); await counts('4/30 · 2 approved · 1 edited · 1 rejected')
  step('escape leaves the field and loses no letter')
  await pause(500); await page.locator('.ft-reason input').fill('two agents'); await page.locator('.ft-reason input').press('Escape')
  await key('r'); await counts('5/30 · 2 approved · 1 edited · 2 rejected')
  step('reason')

  await pause(250); await page.keyboard.down('a'); for (let i=0; i<8; i++) await page.keyboard.down('a'); await page.keyboard.up('a')
  await counts('6/30 · 3 approved · 1 edited · 2 rejected'); await pause(300); await counts('6/30 · 3 approved · 1 edited · 2 rejected')
  step('a held key counts once')
  await pause(250); await page.evaluate(() => { const b = [...document.querySelectorAll('.ft-panel button')].find(x => x.innerText==='Approve (a)'); for (let i=0; i<5; i++) b.click() })
  await counts('7/30 · 4 approved · 1 edited · 2 rejected'); await pause(400); await counts('7/30 · 4 approved · 1 edited · 2 rejected')
  step('five quick clicks count once')

  for (const k of ['b', 'd', 'd', 'm', 'x', 'c', 'v', 'z', 'y', 'Enter', 'Shift+Enter', 'Delete', '1', '0', '0']) { await page.keyboard.press(k); await pause(30) }
  await pause(300)
  need(await cells()===before, `a key reached the notebook: ${before} became ${await cells()}`)
  await counts('7/30 · 4 approved · 1 edited · 2 rejected')
  step('no key reaches the notebook')

  await panel.locator('select').first().selectOption('rejected'); await shows('question 2')
  await key('ArrowRight'); await shows('question 4'); await key('ArrowRight'); await shows('question 4')
  step('filter')
  await panel.locator('select').first().selectOption('all'); await panel.locator('select').first().selectOption('pending')
  await panel.focus(); await key('t'); await page.waitForFunction(() => [...document.querySelectorAll('.ft-panel .widget-label')].some(x => x.innerText.trim()==='page 1 of 2, 23 in view'))
  step('key t, table, pages')
  await panel.getByLabel('all in view').check(); await pause(200)
  await button('Approve ticked').click(); await panel.getByText('Approve 23 items without opening them?').waitFor()
  await button('No').click(); await counts('7/30 · 4 approved · 1 edited · 2 rejected')
  await panel.getByLabel('all in view').uncheck()
  const ticked = n => page.waitForFunction(n => [...document.querySelectorAll('.ft-panel input[type=checkbox]')].filter(x => x.offsetParent && x.checked).length===n, n)
  await ticked(0); await pause(200); await panel.locator('input[type=checkbox]:visible').nth(1).check(); await panel.locator('input[type=checkbox]:visible').nth(3).check()
  await button('Approve ticked').click(); await panel.getByText('Approve 2 items without opening them?').waitFor()
  await panel.getByLabel('all in view').check(); await ticked(21)
  await button('Approve ticked').click(); await button('Yes, approve 23').waitFor(); await page.screenshot({path: shot.replace('.png', '-bulk.png')})
  await button('Yes, approve 23').click(); await counts('30/30 · 27 approved · 1 edited · 2 rejected')
  await button('Undo (u)').locator('visible=true').click(); await counts('7/30 · 4 approved · 1 edited · 2 rejected')
  step('bulk, confirmed, undone in one step')

  await button('One at a time').click(); await panel.locator('select').first().selectOption('all'); await pause(300)
  await page.screenshot({path: shot})
  await run('notebook:restart-run-all')
  await page.locator('.jp-Dialog .jp-mod-accept').first().click()
  await page.waitForSelector('.ft-panel', {state: 'detached', timeout: 60000})
  await page.waitForSelector('.ft-panel[data-keys=on]', {timeout: 60000})
  await counts('7/30 · 4 approved · 1 edited · 2 rejected')
  await page.waitForFunction(() => [...document.querySelectorAll('.ft-panel pre')].some(x => x.offsetParent && x.innerText.trim()==='question 7'))
  await page.locator('.ft-panel').last().focus(); await key('a'); await counts('8/30 · 5 approved · 1 edited · 2 rejected')
  step('kernel restart and resume')
  await run('docmanager:save'); await pause(1500)
  step('saved')
}

(async () => {
  const browser = await chromium.launch({executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu']})
  let failed = null
  try { await main(browser) } catch (e) {
    failed = String(e.message).slice(0, 1500)
    const p = browser.contexts()[0]?.pages()[0]
    if (p) await p.screenshot({path: shot.replace('.png', '-failed.png')}).catch(() => {})
  }
  console.log(JSON.stringify({done, errors, outside: [...outside], failed, seconds}))
  await browser.close()
  process.exit(failed ? 1 : 0)
})()
