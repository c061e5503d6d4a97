// Opens pages of the built site at two widths: console errors, requests that leave the folder, sideways scrolling; saves a picture of each.
// Usage: node pages.js SITE PICTURES PAGE...   Prints one line of JSON.
const { chromium } = require('playwright-core'), path = require('path'), { pathToFileURL } = require('url')
const [site, pictures, ...pages] = process.argv.slice(2)
const sizes = { desktop: { width: 1280, height: 900 }, phone: { width: 390, height: 844 } }

;(async () => {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM || '/usr/bin/chromium', args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu', '--allow-file-access-from-files'] })
  const errors = [], outside = [], seen = []
  for (const [size, viewport] of Object.entries(sizes)) for (const scheme of process.env.SCHEMES ? process.env.SCHEMES.split(',') : ['light']) {
    const context = await browser.newContext({ viewport, colorScheme: scheme })
    for (const name of pages) {
      const page = await context.newPage(), where = `${name} (${size})`
      page.on('console', m => { if (m.type() === 'error') errors.push(`${where}: ${m.text()}`) })
      page.on('pageerror', e => errors.push(`${where}: ${e}`))
      page.on('requestfailed', r => errors.push(`${where}: ${r.url()} failed`))
      page.on('request', r => { if (!r.url().startsWith('file:') && !r.url().startsWith('data:')) outside.push(r.url()) })
      await page.goto(pathToFileURL(path.join(site, name.split('?')[0])).href+(name.includes('?') ? '?'+name.split('?')[1] : ''), { waitUntil: 'load' })
      await page.waitForTimeout(200)
      const facts = await page.evaluate(() => ({ title: document.title, headings: document.querySelectorAll('h1').length, wider: document.documentElement.scrollWidth - innerWidth, broken: [...document.images].filter(i => i.complete && !i.naturalWidth).length, hits: document.querySelectorAll('ul.search li').length }))
      seen.push({ page: name, size, scheme, ...facts })
      if (pictures !== '-') await page.screenshot({ path: path.join(pictures, `${name.replace(/[^\w.-]+/g, '_')}-${size}-${scheme}.png`), fullPage: process.env.FULL === '1' })
      await page.close()
    }
    await context.close()
  }
  await browser.close()
  console.log(JSON.stringify({ errors, outside, seen }))
})().catch(e => { console.error(e); process.exit(1) })
