// The page works without scripts; these add live updates, keys, and moving
// between messages without loading the page anew.
import { $, active, base, recall, remember, scope, toast } from './page.js';
import { isOpen, show } from './dialog.js';
import { begin, pick, removePicked, renew, rows, unpick, unread } from './list.js';
import { back, leave, open, openID, openRow, preview, reading, turn } from './reader.js';
import { listen, toggleNotify } from './live.js';
import { offer, palette } from './palette.js';
import './recipes.js';

// ---- theme ----

const media = matchMedia('(prefers-color-scheme: dark)');
function theme() {
  const order = media.matches ? ['', 'light', 'dark'] : ['', 'dark', 'light'];
  const next = order[(order.indexOf(recall('theme', '')) + 1) % 3];
  remember('theme', next);
  if (next) document.documentElement.dataset.theme = next; else delete document.documentElement.dataset.theme;
  toast(next ? (next === 'dark' ? 'Dark' : 'Light') : 'As the system has it');
}

// ---- moving through the list ----

function step(by) {
  const list = rows();
  if (!list.length) return;
  const focused = document.activeElement && document.activeElement.closest('.row');
  let at = list.findIndex((r) => r.hasAttribute('aria-current'));
  if (at < 0 || !reading()) at = Math.max(at, list.indexOf(focused));
  const row = list[Math.min(list.length - 1, Math.max(0, at < 0 ? 0 : at + by))];
  if (reading()) { if (row.dataset.id !== openID()) openRow(row); } else {
    row.querySelector('a.open').focus();
    row.scrollIntoView({ block: 'nearest' });
  }
}

function pickHere() {
  const row = (document.activeElement && document.activeElement.closest('.row[data-id]')) || document.querySelector('.row[aria-current]');
  if (row) pick(row);
}

function press(key) {
  const link = document.querySelector('#reader [data-key="' + key + '"]');
  if (link) link.click();
}

const go = (path) => () => { location.href = base + path; };
const search = () => { const q = $('q'); if (q) { q.focus(); q.select(); } else location.href = base + '/'; };
const keys = () => show(base + '/keys');
const escape = () => { if (unpick()) return; if (reading()) back(); };

const commands = {
  palette, theme, notify: toggleNotify,
};

offer([
  { name: 'All mail', go: go('/') },
  { name: 'Refused', go: go('/sessions') },
  { name: 'Rules: fail on purpose', go: go('/rules') },
  { name: 'How to send', go: go('/help') },
  { name: 'Newest message', go: go('/view/latest' + scope()) },
  { name: 'Search', key: '/', go: search },
  { name: 'Keys and search', key: '?', go: keys },
  { name: 'Light, dark or as the system', key: 'd', go: theme },
  { name: 'Tell me of new mail', go: toggleNotify },
  { name: 'Reply', key: 'r', when: () => document.querySelector('[data-key=r]'), go: () => press('r') },
  { name: 'Release: send it for real', key: 'f', when: () => document.querySelector('[data-key=f]'), go: () => press('f') },
  { name: 'Delete', key: 'Del', when: reading, go: removePicked },
  { name: 'Delete all that is listed', when: () => $('clear-all'), go: () => $('clear-all').click() },
]);

document.addEventListener('keydown', (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key.toLowerCase() === 'k') { e.preventDefault(); palette(); return; }
  if (e.metaKey || e.ctrlKey || e.altKey || isOpen()) return;
  const typing = /^(TEXTAREA|SELECT)$/.test(e.target.tagName) || (e.target.tagName === 'INPUT' && e.target.type !== 'checkbox');
  if (typing) { if (e.key === 'Escape') e.target.blur(); return; }
  const everywhere = { '?': keys, d: theme, '/': search };
  const inMail = {
    j: () => step(1), k: () => step(-1), ArrowDown: null, x: pickHere,
    u: unread, Delete: removePicked, '#': removePicked, Backspace: null,
    r: () => press('r'), f: () => press('f'),
    '[': () => { if (reading()) turn(-1); }, ']': () => { if (reading()) turn(1); },
    Escape: escape,
  };
  const act = everywhere[e.key] || (active === 'mail' && inMail[e.key]);
  if (act) { e.preventDefault(); act(); }
});

document.addEventListener('click', (e) => {
  const command = e.target.closest('[data-command]');
  if (command) { commands[command.dataset.command](); return; }
  if (e.defaultPrevented || e.button || e.metaKey || e.ctrlKey || e.shiftKey || e.altKey || active !== 'mail') return;
  const link = e.target.closest('.row[data-id] a.open');
  if (link) { e.preventDefault(); openRow(link.closest('.row')); return; }
  const nav = e.target.closest('[data-nav]');
  if (nav) {
    e.preventDefault();
    const u = new URL(nav.href), tab = new URL(location.href).searchParams.get('tab');
    if (tab && !nav.dataset.tab && !u.searchParams.has('tab')) u.searchParams.set('tab', tab);
    open(u.pathname + u.search);
    return;
  }
  if (e.target.closest('[data-back]')) { e.preventDefault(); back(); }
});

addEventListener('popstate', () => {
  if (active !== 'mail') return;
  if (location.pathname.startsWith(base + '/m/')) open(location.href, false);
  else { leave(); renew(); }
});

const box = $('mailbox');
if (box) box.addEventListener('change', () => box.form.submit());

begin();
preview();
listen();
