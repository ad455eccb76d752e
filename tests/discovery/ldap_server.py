"""The directory server of the specimens, for the entries of Planet Express."""

from functools import partial

from discovery import served_specimens
from discovery.served_specimens import READER as ADMIN
from discovery.served_specimens import LdapServer

__all__ = ["ADMIN", "BASE", "PASSWORD", "LdapServer", "ldap_server"]

BASE = "dc=planetexpress,dc=com"
PASSWORD = "zoidberg-may-not-know"
ldap_server = partial(served_specimens.ldap_server, base=BASE, password=PASSWORD)
