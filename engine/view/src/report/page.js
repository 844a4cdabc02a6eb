'use strict';
(() => {
  const one = (selector) => document.querySelector(selector);
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const root = document.documentElement;
  one('#language').addEventListener('click', () => {
    root.dataset.ui = root.dataset.ui === 'zh' ? 'en' : 'zh';
  });

  for (const table of all('table.sortable')) {
    all('th', table).forEach((head, column) => head.querySelector('button').addEventListener('click', () => {
      const down = head.getAttribute('aria-sort') === 'ascending';
      all('th', table).forEach((other) => other.removeAttribute('aria-sort'));
      head.setAttribute('aria-sort', down ? 'descending' : 'ascending');
      const key = (row) => row.cells[column].dataset.by;
      const numbers = head.classList.contains('n');
      const order = (a, b) => {
        const [x, y] = [key(a), key(b)];
        if (x === '' || y === '') return (x === '') - (y === '');
        const by = numbers ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return down ? -by : by;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    }));
  }

  const player = one('.player');
  if (!player) return;
  const duration = Number(player.dataset.duration);
  const whole = one('#sound');
  const strip = one('#strip');
  const needle = one('#needle');
  const here = one('#here');
  const overview = one('#overview');
  const pixels = Number(strip.dataset.pixels);
  const words = all('.words .w').sort((a, b) => a.dataset.t - b.dataset.t);
  const said = all('.turns .w').sort((a, b) => a.dataset.t - b.dataset.t);
  const turns = all('.turn');
  // What plays: an element, when its sound begins in the call, when to stop, the button that asked.
  let playing = null;
  let at = 0;

  const mark = (list, time) => list.forEach((item) => {
    const from = Number(item.dataset.t ?? item.dataset.from);
    const to = Number(item.dataset.e ?? item.dataset.to);
    const now = time >= from && time < to;
    if (now !== item.classList.contains('now')) item.classList.toggle('now', now);
  });
  const show = (time, follow) => {
    at = Math.min(Math.max(time, 0), duration);
    needle.style.left = `${at * pixels}px`;
    const x = (at / duration) * overview.viewBox.baseVal.width;
    here.setAttribute('x1', x);
    here.setAttribute('x2', x);
    if (follow) {
      const left = at * pixels - strip.scrollLeft;
      if (left < 40 || left > strip.clientWidth * 0.8) strip.scrollLeft = at * pixels - strip.clientWidth * 0.25;
    }
    mark(words, at);
    mark(said, at);
    mark(turns, at);
  };
  const stop = () => {
    if (!playing) return;
    playing.sound.pause();
    if (playing.button) {
      playing.button.classList.remove('on');
      playing.button.textContent = '▶';
    }
    playing = null;
  };
  const turn = () => {
    if (!playing) return;
    const time = playing.start + playing.sound.currentTime;
    show(time, true);
    if (playing.until !== null && time >= playing.until) {
      stop();
      return;
    }
    requestAnimationFrame(turn);
  };
  const play = (sound, start, from, until, button) => {
    stop();
    playing = { sound, start, until, button };
    sound.currentTime = Math.max(from - start, 0);
    if (button) {
      button.classList.add('on');
      button.textContent = '■';
    }
    sound.play().then(() => requestAnimationFrame(turn), stop);
  };
  const jump = (time) => {
    const goingOn = whole && !whole.paused;
    if (goingOn && playing && playing.button) stop();
    if (whole) whole.currentTime = time;
    show(time, true);
  };

  if (whole) {
    whole.addEventListener('play', () => {
      if (playing) return;
      playing = { sound: whole, start: 0, until: null, button: null };
      requestAnimationFrame(turn);
    });
    whole.addEventListener('pause', () => { if (playing && playing.sound === whole) stop(); });
    whole.addEventListener('seeked', () => { if (!playing) show(whole.currentTime, true); });
  }
  for (const clip of all('.finding audio')) clip.addEventListener('ended', stop);

  document.addEventListener('click', (event) => {
    const button = event.target.closest('[data-play]');
    if (button) {
      if (button.disabled) return;
      if (playing && playing.button === button) {
        stop();
        return;
      }
      const [from, until] = [Number(button.dataset.play), Number(button.dataset.until)];
      const own = button.parentElement.querySelector('audio');
      if (own) play(own, Number(own.dataset.start), from, until, button);
      else play(whole, 0, from, until, button);
      return;
    }
    const place = event.target.closest('[data-t]');
    if (place && String(getSelection()) === '') jump(Number(place.dataset.t));
  });
  overview.addEventListener('click', (event) => {
    const box = overview.getBoundingClientRect();
    jump(((event.clientX - box.left) / box.width) * duration);
  });
  strip.addEventListener('keydown', (event) => {
    const near = words.findIndex((word) => Number(word.dataset.t) > at + 0.0005);
    if (event.key === 'ArrowRight') {
      const next = near < 0 ? null : words[near];
      if (next) jump(Number(next.dataset.t));
    } else if (event.key === 'ArrowLeft') {
      const before = words.filter((word) => Number(word.dataset.t) < at - 0.0005).pop();
      jump(before ? Number(before.dataset.t) : 0);
    } else if ((event.key === 'Enter' || event.key === ' ') && whole) {
      if (whole.paused) whole.play();
      else whole.pause();
    } else return;
    event.preventDefault();
  });
  show(0, false);
})();
