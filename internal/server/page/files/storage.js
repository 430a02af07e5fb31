// What the browser keeps: chats, settings, the key. Nothing of it is sent
// anywhere but to the server, as part of a request.

const prefix = 'godwit.'

// read returns the value under a name, or what is given in its place.
export function read(name, otherwise, store = localStorage) {
  try {
    return JSON.parse(store.getItem(prefix + name)) ?? otherwise
  } catch {
    return otherwise
  }
}

// write keeps a value; null removes it. It reports whether that went well.
export function write(name, value, store = localStorage) {
  try {
    if (value === null) store.removeItem(prefix + name)
    else store.setItem(prefix + name, JSON.stringify(value))
    return true
  } catch {
    return false
  }
}

// A chat is {id, changed, messages}. A message is
//   {role: 'user', content}
//   {role: 'assistant', content, reasoning, calls: [{id, name, arguments}], finish, error, stats}
//   {role: 'tool', id, content}       the answer to the call of that id

export const newChat = () => ({ id: Date.now().toString(36) + Math.random().toString(36).slice(2, 6), changed: Date.now(), messages: [] })

// openChat returns the chat of this tab, or the latest one.
export function openChat() {
  const id = read('open', null, sessionStorage)
  return read('chat.' + id, null) ?? (id ? null : listChats()[0]) ?? newChat()
}

// saveChat keeps a chat that has begun.
export const saveChat = (chat) => !chat.messages.length || write('chat.' + chat.id, chat)

// setOpen makes a chat that of this tab.
export const setOpen = (chat) => write('open', chat.id, sessionStorage)

export const removeChat = (id) => write('chat.' + id, null)

// listChats returns all chats, the latest first.
export function listChats() {
  try {
    return Object.keys(localStorage)
      .filter((key) => key.startsWith(prefix + 'chat.'))
      .map((key) => read(key.slice(prefix.length), null))
      .filter((chat) => chat?.messages)
      .sort((a, b) => b.changed - a.changed)
  } catch {
    return []
  }
}

export const title = (chat) => chat.messages.find((m) => m.role === 'user')?.content.trim().slice(0, 120) || 'Untitled'
