# Interim stand-in so that other rooms can run; the real one replaces this file.
from contextlib import contextmanager
import threading, os
from omni.eventlog.chain import *
from omni.eventlog.connection import *
from omni.eventlog.reader import LogReader, open_reader
from omni.eventlog.store import *
from omni.eventlog.codec import *
from omni.eventlog.lock import DaemonLock
from omni.eventlog.marker import *
class SqliteEventStore(LogReader):
    @classmethod
    def open(cls, path, codec, *, accept_loss=False, vfs=None, synchronous="FULL"):
        return cls(path, codec, synchronous)
    def __init__(self, path, codec, sync):
        self._lk=DaemonLock(path); self._c=connect_writer(path,None,sync); super().__init__(SharedReader(path),codec)
        self._wl=threading.RLock(); self._h=LogReader.head.fget(self); self.boot=os.urandom(6).hex(); self.accepted_loss=0; self._m=HeadMarker(marker_path(path), self._h)
        self._codec=codec
    @property
    def head(self): return self._h
    @contextmanager
    def exclusive(self):
        with self._wl: yield self._h
    def append(self, entries, *, from_reserve=False):
        with self._wl:
            pos,prev=self._h.position,self._h.hash; flat=[]; 
            for e in entries:
                pos+=1; n,s,b=self._codec.encode(e.event)
                r=[pos,e.stream,e.version,n,s,e.at_ms,e.mono_ms,self.boot,e.actor,e.cause,b,e.input.decode() if e.input else None,prev]
                prev=seal(r); flat+=r; flat.append(prev)
            row="("+",".join("?"*14)+")"; k=len(entries)
            self._c.execute("BEGIN IMMEDIATE")
            for i in range(0,k,128):
                m=min(128,k-i); self._c.execute("INSERT INTO events VALUES"+",".join([row]*m), flat[i*14:(i+m)*14])
            self._c.execute("COMMIT")
            self._h=Head(pos,prev); self._m.write(self._h); return pos
    def close(self): self._c.close(); super().close(); self._lk.release()
