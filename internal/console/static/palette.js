// Ctrl-K: commands, mailboxes and messages, found by typing.
import { $, base, scope } from './page.js';
import { close } from './dialog.js';

let items = [], at = 0, commands = [], turn = 0;

// offer names the commands that can be found; main.js does.
export function offer(list) { commands = list; }

export function palette() {
  const d = $('dialog');
  d.className = 'palette';
  d.innerHTML = '<div class="finder"><h1 class="hidden" id="dialog-title">Commands</h1><input type="text" role="combobox" aria-expanded="true" aria-controls="found" aria-label="Command, mailbox or message" placeholder="Command, mailbox or message" autocomplete="off" spellcheck="false"><ul id="found" role="listbox"></ul></div>';
  if (!d.open) d.showModal();
  const input = d.querySelector('input');
  input.focus();
  input.addEventListener('input', () => find(input.value));
  input.addEventListener('keydown', (e) => {
    if (e.key === 'ArrowDown' || e.key === 'ArrowUp') { e.preventDefault(); choose(at + (e.key === 'ArrowDown' ? 1 : -1)); }
    if (e.key === 'Enter') { e.preventDefault(); run(items[at]); }
  });
  find('');
}

function boxes() {
  return [...document.querySelectorAll('#side [data-box]')].filter((a) => a.dataset.box).map((a) => ({ kind: 'Mailbox', name: a.dataset.box, go: () => { location.href = a.href; } }));
}

async function find(text) {
  const mine = ++turn, want = text.trim().toLowerCase();
  const has = (i) => i.name.toLowerCase().includes(want);
  items = [...commands.filter((c) => (!c.when || c.when()) && has(c)).map((c) => ({ kind: 'Command', ...c })), ...boxes().filter(has).slice(0, 8)];
  list();
  if (want.length < 2) return;
  const u = new URL(base + '/api/dev/messages' + scope(), location.href);
  u.searchParams.set('q', text);
  u.searchParams.set('limit', '8');
  const r = await fetch(u).catch(() => null);
  if (mine !== turn || !r || !r.ok) return;
  const found = (await r.json()).messages;
  if (mine !== turn) return;
  items = items.concat(found.map((m) => ({ kind: 'Message', name: m.subject || '(no subject)', beside: m.from, go: () => { location.href = base + '/m/' + m.id; } })));
  list();
}

function list() {
  const ul = $('found');
  if (!ul) return;
  ul.replaceChildren(...items.map((item, n) => {
    const li = document.createElement('li');
    li.id = 'found-' + n;
    li.setAttribute('role', 'option');
    for (const [name, text] of [['name', item.name], ['beside', item.beside || ''], ['kind', item.key || item.kind]]) {
      const span = document.createElement('span');
      span.className = name;
      span.textContent = text;
      li.append(span);
    }
    li.addEventListener('click', () => run(item));
    return li;
  }));
  if (!items.length) { const li = document.createElement('li'); li.className = 'none'; li.textContent = 'Nothing matches'; ul.append(li); }
  choose(0);
}

function choose(n) {
  const all = [...$('found').querySelectorAll('[role=option]')];
  if (!all.length) return;
  at = (n + all.length) % all.length;
  all.forEach((li, i) => li.setAttribute('aria-selected', String(i === at)));
  all[at].scrollIntoView({ block: 'nearest' });
  $('dialog').querySelector('input').setAttribute('aria-activedescendant', all[at].id);
}

function run(item) {
  if (!item) return;
  close();
  item.go();
}
