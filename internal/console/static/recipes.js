// The lines to paste: one list of names beside one block, where there is room.
// Without this they fold one below the other.
import { recall, remember } from './page.js';

export function recipes() {
  const box = document.querySelector('[data-recipes]:not(.tabbed)');
  if (!box || innerWidth < 700) return;
  const all = [...box.querySelectorAll('.recipe')];
  const names = document.createElement('div');
  names.className = 'names';
  names.setAttribute('role', 'tablist');
  names.setAttribute('aria-label', 'Languages');
  const blocks = all.map((d) => d.querySelector('.code'));
  const buttons = all.map((d, i) => {
    const b = document.createElement('button');
    b.type = 'button';
    b.textContent = d.querySelector('.rname').textContent;
    b.id = 'recipe-' + i;
    b.setAttribute('role', 'tab');
    blocks[i].setAttribute('role', 'tabpanel');
    blocks[i].setAttribute('aria-labelledby', b.id);
    b.addEventListener('click', () => choose(i));
    return b;
  });
  function choose(n) {
    buttons.forEach((b, i) => { b.setAttribute('aria-selected', String(i === n)); b.tabIndex = i === n ? 0 : -1; blocks[i].hidden = i !== n; });
    remember('recipe', buttons[n].textContent);
  }
  names.addEventListener('keydown', (e) => {
    const by = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[e.key];
    if (!by) return;
    e.preventDefault();
    const n = (buttons.indexOf(document.activeElement) + by + buttons.length) % buttons.length;
    choose(n);
    buttons[n].focus();
  });
  names.append(...buttons);
  box.classList.add('tabbed');
  box.replaceChildren(names, ...blocks);
  choose(Math.max(0, buttons.findIndex((b) => b.textContent === recall('recipe', ''))));
}

recipes();
document.addEventListener('renewed', recipes);
