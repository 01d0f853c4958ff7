// The administration page: what /api/v1 says, shown and refreshed; forms that change it.
// Text from the server gets into the page as text only, never as markup.
'use strict';

const liveMilliseconds = 2000;
const recordsMilliseconds = 10000;
const mostRows = 500;
const chartSamples = 60;
const MiB = 1048576;

const state = {clients: [], vdisks: [], settings: {}, sessions: [], caches: [], jobs: [], log: [], facts: {}};
const history = {read: [], written: []};
const byId = id => document.getElementById(id);

// --- the API

async function api(method, path, body) {
  const options = {method, headers: {'X-Lodge': '1'}};
  if (body !== undefined) {
    options.headers['Content-Type'] = 'application/json';
    options.body = JSON.stringify(body);
  }
  // The origin by name: relative to an address with a password in it, fetch refuses.
  const response = await fetch(location.origin + '/api/v1/' + path, options);
  let value = null;
  try {
    value = await response.json();
  } catch {
    // The status says enough.
  }
  if (!response.ok) throw new Error(value?.error?.message || 'The server answered ' + response.status);
  return value;
}

const path = (...parts) => parts.map(encodeURIComponent).join('/');

// --- numbers for people

function bytes(count) {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let unit = 0;
  while (count >= 1024 && unit < units.length - 1) {
    count /= 1024;
    ++unit;
  }
  return (unit === 0 || count >= 100 ? Math.round(count) : count.toFixed(1)) + ' ' + units[unit];
}

const perSecond = count => bytes(count) + '/s';

function duration(seconds) {
  if (seconds < 60) return Math.max(0, Math.round(seconds)) + ' s';
  if (seconds < 3600) return Math.floor(seconds / 60) + ' min';
  if (seconds < 86400) return Math.floor(seconds / 3600) + ' h ' + Math.floor(seconds % 3600 / 60) + ' min';
  return Math.floor(seconds / 86400) + ' d ' + Math.floor(seconds % 86400 / 3600) + ' h';
}

const moment = when => when ? new Date(when * 1000).toLocaleString() : 'never';

// --- elements

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === 'class') element.className = value;
    else if (name.startsWith('data-') || name.startsWith('aria-')) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children);
  return element;
}

const button = (text, what, action, kind = 'quiet') =>
    make('button', {type: 'button', class: kind, 'aria-label': what, onclick: action}, text);

const withUnder = (text, under) => {
  const parts = document.createDocumentFragment();
  parts.append(text, make('span', {class: 'under'}, under));
  return parts;
};

const setText = (id, text) => {
  if (byId(id).textContent !== text) byId(id).textContent = text;
};

// A table's rows follow its records by key. A cell is made again only when what it shows has changed, so that the
// keyboard's focus stays where it is.
class Table {
  constructor(id, columns, key, empty) {
    this.columns = columns;
    this.key = key;
    this.rows = new Map();
    const head = make('tr');
    for (const column of columns)
      head.append(make('th', {scope: 'col', class: column.class || ''}, column.label));
    this.body = make('tbody');
    byId(id).append(make('thead', {}, head), this.body);
    this.none = make('tr', {}, make('td', {class: 'empty', colSpan: columns.length}, empty));
  }

  show(records) {
    const seen = new Set();
    let place = this.body.firstChild;
    if (place === this.none) {
      place = null;
      this.none.remove();
    }
    for (const record of records) {
      const key = String(this.key(record));
      seen.add(key);
      let row = this.rows.get(key);
      if (!row) {
        row = make('tr', {'data-key': key});
        for (const column of this.columns)
          row.append(make('td', {class: column.class || '', 'data-label': column.label}));
        this.rows.set(key, row);
      }
      this.columns.forEach((column, i) => {
        const cell = row.cells[i];
        const mark = JSON.stringify(column.of ? column.of(record) : record);
        if (cell.mark === mark) return;
        cell.mark = mark;
        cell.replaceChildren(make('div', {}, column.show(record)));
      });
      if (row !== place) this.body.insertBefore(row, place);
      else place = place.nextSibling;
    }
    for (const [key, row] of this.rows) {
      if (seen.has(key)) continue;
      row.remove();
      this.rows.delete(key);
    }
    if (records.length === 0) this.body.append(this.none);
  }
}

// A column that shows one text.
const text = (label, of, kind) => ({label, of, show: record => document.createTextNode(of(record)), class: kind});

const clientOf = mac => state.clients.find(each => each.mac === mac);
const clientName = (mac, name) => name || clientOf(mac)?.name || mac;
const clientCell = (mac, name) =>
    clientName(mac, name) === mac ? make('span', {class: 'mac'}, mac) : withUnder(clientName(mac, name), mac);
const modeBadge = mode => make('span', {class: 'badge ' + mode}, mode);

// --- dialogs

// Opens a dialog and calls `save` with its form when it is submitted; it closes if that succeeds.
function ask(id, prepare, save) {
  const dialog = byId(id);
  const form = dialog.querySelector('form');
  const error = dialog.querySelector('.error');
  form.reset();
  error.textContent = '';
  form.querySelector('.cancel').onclick = () => dialog.close();
  const run = async action => {
    error.textContent = '';
    try {
      const message = await action();
      dialog.close();
      if (message) say(message);
    } catch (problem) {
      error.textContent = problem.message;
    }
    await refreshRecords().catch(showConnection);
  };
  form.onsubmit = event => {
    event.preventDefault();
    run(() => save(form));
  };
  prepare(form, dialog, run);
  dialog.showModal();
}

function confirm(title, what, verb, force, action) {
  ask('confirm-dialog', (form, dialog) => {
    dialog.querySelector('h2').textContent = title;
    dialog.querySelector('.what').textContent = what;
    dialog.querySelector('.force').hidden = !force;
    dialog.querySelector('.force span').textContent = force || '';
    dialog.querySelector('button.danger').textContent = verb;
  }, form => action(form.elements.force.checked));
}

function say(message, bad = false) {
  const place = byId('message');
  place.textContent = message;
  place.className = bad ? 'bad' : '';
  place.hidden = false;
  clearTimeout(say.timer);
  say.timer = setTimeout(() => place.hidden = true, 8000);
}

function fillVdisks(select, chosen, none) {
  const options = state.vdisks.map(each => make('option', {value: each.name}, each.name));
  if (none) options.unshift(make('option', {value: ''}, none));
  select.replaceChildren(...options);
  select.value = chosen;
}

function editClient(client) {
  ask('client-dialog', (form, dialog) => {
    const fields = form.elements;
    dialog.querySelector('h2').textContent = client ? 'Change a client' : 'Add a client';
    dialog.querySelector('details').open = false;
    dialog.querySelector('.clear-secrets').hidden = !client?.has_secret && !client?.has_target_secret;
    fields.mac.readOnly = !!client;
    for (const secret of ['secret', 'target_secret'])
      fields[secret].placeholder = client?.['has_' + secret] ? 'there is one; empty: it stays' : '';
    if (!client) return;
    fields.mac.value = client.mac;
    fields.name.value = client.name;
    fields.uuid.value = client.uuid;
    fields.initiators.value = client.initiators.join('\n');
    fields.no_secret.checked = client.no_secret;
  }, async form => {
    const fields = form.elements;
    const body = {
      name: fields.name.value.trim(),
      uuid: fields.uuid.value.trim(),
      initiators: fields.initiators.value.split(/\s+/).filter(Boolean),
      no_secret: fields.no_secret.checked
    };
    for (const secret of ['secret', 'target_secret']) {
      if (fields.clear_secrets.checked) body[secret] = null;
      if (fields[secret].value) body[secret] = fields[secret].value;
    }
    if (client) await api('PATCH', path('clients', client.mac), body);
    else await api('POST', 'clients', {mac: fields.mac.value.trim(), ...body});
    return client ? 'The client is changed.' : 'The client is added.';
  });
}

function assign(client, assignment) {
  if (state.vdisks.length === 0) {
    say('There is no vDisk yet: import one, or make an empty one.', true);
    return;
  }
  ask('assign-dialog', (form, dialog, run) => {
    const fields = form.elements;
    const place = client.assignments.reduce((most, each) => Math.max(most, each.order + 1), 0);
    dialog.querySelector('h2').textContent =
        (assignment ? assignment.vdisk + ' for ' : 'A vDisk for ') + clientName(client.mac);
    fillVdisks(fields.vdisk, assignment?.vdisk || state.vdisks[0].name);
    fields.vdisk.disabled = !!assignment;
    fields.mode.value = assignment?.mode || 'private';
    fields.order.value = assignment?.order ?? place;
    const unassign = dialog.querySelector('.unassign');
    unassign.hidden = !assignment;
    unassign.onclick = () => run(async () => {
      await api('DELETE', path('clients', client.mac, 'vdisks', assignment.vdisk));
      return 'The vDisk is taken away.';
    });
  }, async form => {
    const fields = form.elements;
    await api('PUT', path('clients', client.mac, 'vdisks', fields.vdisk.value),
              {mode: fields.mode.value, order: Number(fields.order.value)});
    return 'The vDisk is assigned.';
  });
}

function createVdisk() {
  ask('create-dialog', () => {}, async form => {
    const fields = form.elements;
    const size = Math.ceil(Number(fields.size.value) * Number(fields.unit.value) / 512) * 512;
    await api('POST', 'vdisks', {name: fields.name.value, bytes: size, note: fields.note.value});
    return 'The vDisk is made.';
  });
}

function importVdisk() {
  ask('import-dialog', () => {
    byId('import-where').textContent = state.settings.has_password ?
        '' : 'Without a password for this page: an image in ' + state.facts.store + '/import.';
  }, async form => {
    const fields = form.elements;
    await api('POST', 'jobs', {
      kind: 'import',
      name: fields.name.value,
      image: fields.image.value,
      raw: fields.raw.checked,
      note: fields.note.value
    });
    await refreshLive();
    return 'The import has begun.';
  });
}

function editNote(vdisk) {
  ask('note-dialog', (form, dialog) => {
    dialog.querySelector('h2').textContent = 'Note of ' + vdisk.name;
    form.elements.note.value = vdisk.note;
  }, async form => {
    await api('PATCH', path('vdisks', vdisk.name), {note: form.elements.note.value});
  });
}

// --- tables

const sessionsTable = new Table('sessions-table', [
  {label: 'Client', of: each => [each.mac, clientName(each.mac, each.client_name)], show: each => clientCell(each.mac, each.client_name)},
  {label: 'vDisk', of: each => [each.vdisk, each.mode], show: each => {
    const parts = document.createDocumentFragment();
    parts.append(each.vdisk + ' ', modeBadge(each.mode));
    return parts;
  }},
  {label: 'Address', of: each => [each.address, each.initiator], show: each => make('span', {title: each.initiator}, each.address), class: 'break'},
  text('For', each => duration(state.facts.now - each.since), 'number'),
  {label: 'Read', of: each => [each.per_second.read_bytes, each.read_bytes], show: each => withUnder(perSecond(each.per_second.read_bytes), bytes(each.read_bytes)), class: 'number'},
  {label: 'Written', of: each => [each.per_second.written_bytes, each.written_bytes], show: each => withUnder(perSecond(each.per_second.written_bytes), bytes(each.written_bytes)), class: 'number'},
  text('Requests', each => Math.round(each.per_second.reads + each.per_second.writes) + '/s', 'number'),
  {label: '', of: each => each.id, show: each => button('Disconnect', 'Disconnect ' + clientName(each.mac, each.client_name), () =>
      confirm('Disconnect ' + clientName(each.mac, each.client_name) + '?',
              'Its operating system loses its disk until it logs in again.', 'Disconnect', '',
              async () => { await api('DELETE', path('sessions', each.id)); return 'The session is asked to end.'; }), 'quiet danger'), class: 'doing'}
], each => each.id, 'No client is connected.');

const cachesTable = new Table('caches-table', [
  {label: 'Client', of: each => [each.mac, clientName(each.mac)], show: each => clientCell(each.mac)},
  text('vDisk', each => each.vdisk),
  text('In memory', each => bytes(each.memory_bytes), 'number'),
  text('On disk', each => bytes(each.disk_bytes), 'number'),
  {label: 'Of at most', of: each => [each.memory_bytes + each.disk_bytes, each.quota, each.full], show: each => {
    const used = each.memory_bytes + each.disk_bytes;
    const parts = document.createDocumentFragment();
    parts.append(make('meter', {max: each.quota || 1, value: used, high: each.quota * 0.9, optimum: 0, title: bytes(used) + ' of ' + bytes(each.quota)}));
    parts.append(make('span', {class: 'under'}, bytes(each.quota)));
    if (each.full) parts.append(make('span', {class: 'badge full'}, 'full: writes fail'));
    return parts;
  }}
], each => each.mac + ' ' + each.vdisk, 'No client has written to a shared vDisk.');

const clientsTable = new Table('clients-table', [
  {label: 'Client', of: each => [each.mac, each.name], show: each => clientCell(each.mac, each.name)},
  {label: 'vDisks', of: each => [each.assignments, each.name], show: each => {
    const chips = make('div', {class: 'chips'});
    for (const one of each.assignments)
      chips.append(make('button', {type: 'button', class: one.mode, title: one.mode + ', place ' + one.order, 'aria-label': 'Change ' + one.vdisk + ', ' + one.mode + ', of ' + clientName(each.mac), onclick: () => assign(each, one)}, one.vdisk + ' · ' + one.mode));
    chips.append(button('+ vDisk', 'Assign a vDisk to ' + clientName(each.mac), () => assign(each)));
    return chips;
  }},
  {label: 'UUID', of: each => each.uuid, show: each => make('span', {class: 'small'}, each.uuid), class: 'break'},
  text('Last seen', each => moment(each.last_seen)),
  {label: '', show: each => {
    const parts = document.createDocumentFragment();
    parts.append(button('Change', 'Change ' + clientName(each.mac), () => editClient(each)),
                 button('Remove', 'Remove ' + clientName(each.mac), () =>
        confirm('Remove ' + clientName(each.mac) + '?', 'The client ' + each.mac + ' and its assignments are forgotten.', 'Remove', '',
                async () => { await api('DELETE', path('clients', each.mac)); return 'The client is removed.'; }), 'quiet danger'));
    return parts;
  }, class: 'doing'}
], each => each.mac, 'No client.');

const vdisksTable = new Table('vdisks-table', [
  {label: 'vDisk', of: each => [each.name, each.is_default], show: each => {
    const parts = document.createDocumentFragment();
    parts.append(make('strong', {}, each.name));
    if (each.is_default) parts.append(' ', make('span', {class: 'badge'}, 'default'));
    return parts;
  }},
  text('Note', each => each.note, 'break'),
  text('Size', each => bytes(each.bytes), 'number'),
  text('Takes', each => bytes(each.stored_bytes), 'number'),
  text('Clients', each => String(state.clients.filter(client => client.assignments.some(one => one.vdisk === each.name)).length), 'number'),
  text('Added', each => moment(each.added)),
  {label: '', show: each => {
    const parts = document.createDocumentFragment();
    parts.append(button('Note', 'Change the note of ' + each.name, () => editNote(each)),
                 button('Remove', 'Remove ' + each.name, () =>
        confirm('Remove ' + each.name + '?', 'The vDisk and what is on it are deleted.', 'Remove',
                'even if it is assigned to clients, or the default',
                async force => { await api('DELETE', path('vdisks', each.name) + (force ? '?force=1' : '')); return 'The vDisk is removed.'; }), 'quiet danger'));
    return parts;
  }, class: 'doing'}
], each => each.name, 'No vDisk yet: import an image, or make an empty one.');

const jobsTable = new Table('jobs-table', [
  text('vDisk', each => each.name),
  text('From', each => each.image, 'break'),
  {label: 'Done', of: each => [each.done_bytes, each.all_bytes, each.state, each.error], show: each => {
    if (each.state === 'failed') return make('span', {class: 'error'}, each.error);
    if (each.state !== 'running') return document.createTextNode(each.state);
    const parts = document.createDocumentFragment();
    parts.append(make('progress', {max: each.all_bytes || 1, value: each.done_bytes}),
                 make('span', {class: 'under'}, bytes(each.done_bytes) + ' of ' + bytes(each.all_bytes)));
    return parts;
  }},
  text('Began', each => moment(each.started)),
  {label: '', of: each => each.state, show: each => each.state === 'running' ?
      button('Cancel', 'Cancel the import of ' + each.name, async () => {
        try {
          await api('DELETE', path('jobs', each.id));
        } catch (problem) {
          say(problem.message, true);
        }
        refreshLive();
      }, 'quiet danger') : document.createTextNode(''), class: 'doing'}
], each => each.id, 'No import.');

const logTable = new Table('log-table', [
  text('When', each => moment(each.when)),
  text('Who', each => each.who, 'break'),
  text('What', each => each.what, 'break')
], each => each.id, 'Nothing has happened.');

// --- showing

function showChart(id, samples) {
  const most = Math.max(...samples, 1);
  const points = samples.map((value, i) => {
    const x = (chartSamples - samples.length + i) * 120 / (chartSamples - 1);
    return x.toFixed(1) + ',' + (28 - 26 * value / most).toFixed(1);
  });
  byId(id).firstElementChild.setAttribute('points', points.join(' '));
}

function showLive() {
  const {facts, sessions} = state;
  const sum = name => sessions.reduce((total, each) => total + each.per_second[name], 0);
  for (const [list, name] of [[history.read, 'read_bytes'], [history.written, 'written_bytes']]) {
    list.push(sum(name));
    if (list.length > chartSamples) list.shift();
  }
  showChart('chart-read', history.read);
  showChart('chart-written', history.written);
  const looked = facts.base_cache.hits + facts.base_cache.misses;
  setText('store-path', facts.store);
  setText('tile-sessions', String(sessions.length));
  setText('tile-read', perSecond(sum('read_bytes')));
  setText('tile-written', perSecond(sum('written_bytes')));
  setText('tile-base', bytes(facts.base_cache.bytes));
  setText('tile-base-hits', looked ? (100 * facts.base_cache.hits / looked).toFixed(1) + ' % of reads found there' : '');
  setText('tile-free', bytes(facts.free_bytes));
  setText('tile-uptime', 'running for ' + duration(facts.now - facts.started) + ', iSCSI at ' + facts.iscsi_address);
  sessionsTable.show(sessions);
  cachesTable.show(state.caches);
  byId('jobs').hidden = state.jobs.length === 0;
  jobsTable.show(state.jobs);
}

function showClients() {
  const words = byId('clients-filter').value.toLowerCase().split(/\s+/).filter(Boolean);
  const found = state.clients.filter(client => {
    const all = [client.mac, client.name, client.uuid, ...client.assignments.map(each => each.vdisk)].join(' ').toLowerCase();
    return words.every(word => all.includes(word));
  });
  clientsTable.show(found.slice(0, mostRows));
  byId('clients-more').textContent =
      found.length > mostRows ? (found.length - mostRows) + ' more: type something to find.' : '';
}

// Not while somebody fills it in.
function showSettings() {
  const form = byId('settings-form');
  if (form.dirty) return;
  const fields = form.elements;
  const settings = state.settings;
  fields.unknown.value = settings.unknown;
  fillVdisks(fields.default, settings.default, 'none');
  fields.menu_seconds.value = settings.menu_seconds;
  fields.cache.value = settings.cache;
  fields.cache_memory.value = settings.cache_memory / MiB;
  fields.cache_quota.value = settings.cache_quota / MiB;
  fields.open_discovery.checked = settings.open_discovery;
  fields.password.value = '';
  fields.remove_password.checked = false;
  fields.remove_password.disabled = !settings.has_password;
  setText('password-state', settings.has_password ?
      'There is one, and the page asks for it.' : 'There is none: everybody on this host can use this page.');
}

async function saveSettings(event) {
  event.preventDefault();
  const form = byId('settings-form');
  const fields = form.elements;
  const body = {
    unknown: fields.unknown.value,
    default: fields.default.value,
    menu_seconds: Number(fields.menu_seconds.value),
    cache: fields.cache.value,
    cache_memory: Math.round(Number(fields.cache_memory.value) * MiB),
    cache_quota: Math.round(Number(fields.cache_quota.value) * MiB),
    open_discovery: fields.open_discovery.checked
  };
  if (fields.password.value) body.password = fields.password.value;
  if (fields.remove_password.checked) body.password = null;
  try {
    await api('PATCH', 'settings', body);
    form.dirty = false;
    say('The settings are saved.');
    await refreshRecords();
  } catch (problem) {
    say(problem.message, true);
  }
}

// --- refreshing

function showConnection(problem) {
  const place = byId('connection');
  place.className = problem ? 'bad' : '';
  setText('connection', problem ? 'The server does not answer: ' + problem.message : '');
}

async function refreshLive() {
  const [facts, sessions, caches, jobs] =
      await Promise.all(['facts', 'sessions', 'caches', 'jobs'].map(each => api('GET', each)));
  const ended = state.jobs.some(old => old.state === 'running' &&
      jobs.jobs.some(each => each.id === old.id && each.state !== 'running'));
  Object.assign(state, {facts, sessions: sessions.sessions, caches: caches.caches, jobs: jobs.jobs});
  showLive();
  if (ended) await refreshRecords();
}

async function refreshRecords() {
  const [clients, vdisks, settings, log] =
      await Promise.all(['clients', 'vdisks', 'settings', 'log'].map(each => api('GET', each)));
  // Older lines that were asked for stay.
  const oldest = log.log.length ? log.log[log.log.length - 1].id : 0;
  const older = state.log.filter(each => each.id < oldest);
  Object.assign(state, {clients: clients.clients, vdisks: vdisks.vdisks, settings, log: log.log.concat(older)});
  showClients();
  vdisksTable.show(state.vdisks);
  logTable.show(state.log);
  showSettings();
}

async function showOlder() {
  const last = state.log[state.log.length - 1];
  if (!last) return;
  try {
    const {log} = await api('GET', 'log?before=' + last.id);
    state.log = state.log.concat(log);
    byId('log-older').disabled = log.length === 0;
    logTable.show(state.log);
  } catch (problem) {
    say(problem.message, true);
  }
}

// One request at a time; a page that nobody sees asks for nothing.
async function repeat(refresh, milliseconds) {
  if (!document.hidden) {
    try {
      await refresh();
      showConnection(null);
    } catch (problem) {
      showConnection(problem);
    }
  }
  setTimeout(() => repeat(refresh, milliseconds), milliseconds);
}

function showSection() {
  const names = [...document.querySelectorAll('main > section')].map(each => each.id);
  const wanted = location.hash.slice(1);
  const shown = names.includes(wanted) ? wanted : names[0];
  for (const name of names) byId(name).hidden = name !== shown;
  for (const link of document.querySelectorAll('nav a')) {
    if (link.hash === '#' + shown) link.setAttribute('aria-current', 'page');
    else link.removeAttribute('aria-current');
  }
}

async function start() {
  byId('add-client').onclick = () => editClient();
  byId('create-vdisk').onclick = createVdisk;
  byId('import-vdisk').onclick = importVdisk;
  byId('clients-filter').oninput = showClients;
  byId('log-older').onclick = showOlder;
  byId('settings-form').onsubmit = saveSettings;
  byId('settings-form').oninput = () => byId('settings-form').dirty = true;
  window.onhashchange = showSection;
  showSection();
  await repeat(refreshRecords, recordsMilliseconds);
  repeat(refreshLive, liveMilliseconds);
}

start();
