"""A DNS server on loopback: answers what it is told to."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import dns.flags
import dns.message
import dns.rcode
import dns.rdatatype
import dns.rrset

from nginy.address import Address
from tests.scenario.watch.small_servers import udp_server

RECORDS = {4: dns.rdatatype.A, 6: dns.rdatatype.AAAA}


@dataclass
class Zone:
    """Addresses by name; a name that is not in it does not exist."""

    hosts: dict[str, list[str]] = field(default_factory=dict)
    ttl_s: int = 60
    silent: bool = False
    broken: set[int] = field(default_factory=set)
    """IP versions whose questions are answered SERVFAIL."""
    aliases: dict[str, str] = field(default_factory=dict)
    """Answered with the name they stand for, without its addresses."""
    refusals: int = 0
    """So many questions are refused before one is answered."""
    questions: int = 0

    def answer(self, wire: bytes) -> bytes | None:
        self.questions += 1
        if self.silent:
            return None
        query = dns.message.from_wire(wire)
        response = dns.message.make_response(query)
        response.flags |= dns.flags.RA
        question = query.question[0]
        hosts = self.hosts.get(question.name.to_text(omit_final_dot=True))
        version = 6 if question.rdtype == dns.rdatatype.AAAA else 4
        alias = self.aliases.get(question.name.to_text(omit_final_dot=True))
        if self.refusals > 0:
            self.refusals -= 1
            response.set_rcode(dns.rcode.REFUSED)
        elif alias is not None:
            response.answer.append(
                dns.rrset.from_text(question.name, self.ttl_s, "IN", "CNAME", alias + ".")
            )
        elif version in self.broken:
            response.set_rcode(dns.rcode.SERVFAIL)
        elif hosts is None:
            response.set_rcode(dns.rcode.NXDOMAIN)
        else:
            own = [host for host in hosts if (":" in host) == (version == 6)]
            if own:
                response.answer.append(
                    dns.rrset.from_text_list(
                        question.name, self.ttl_s, "IN", question.rdtype.name, own
                    )
                )
        return response.to_wire()


@asynccontextmanager
async def dns_server(zone: Zone) -> AsyncIterator[Address]:
    async with udp_server(zone.answer) as address:
        yield address
