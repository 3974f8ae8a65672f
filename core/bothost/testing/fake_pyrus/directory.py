"""Answer requests for members, roles and catalogs of the fake Pyrus, and change them as a bot with rights does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bothost.testing.fake_pyrus.world import ApiAccount, ApiRefusal, Json, PyrusWorld

if TYPE_CHECKING:
    from collections.abc import Callable

    from bothost.testing.fake_pyrus.question import ApiQuestion


def members(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all persons that are not roles."""
    return {"members": [one for one in world.persons.values() if one.get("type") != "role"]}


def member(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Return a person. Raises ApiRefusal 400."""
    if number not in world.persons or world.persons[number].get("type") == "role":
        raise ApiRefusal(400, "invalid_person_id", f"nobody is {number}")
    return world.persons[number]


def create_member(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Add a person."""
    given = {key: value for key, value in asked.json().items() if value is not None}
    return world.add_person(**{"type": "user", **given})


def update_member(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount, number: int) -> Json:
    """Change a person."""
    found = member(world, asked, account, number)
    found.update({key: value for key, value in asked.json().items() if value is not None and key != "id"})
    return found


def block_member(world: PyrusWorld, asked: ApiQuestion, account: ApiAccount, number: int) -> Json:
    """Block a person."""
    found = member(world, asked, account, number)
    found["banned"] = True
    return found


def role_row(person: Json) -> Json:
    """Return a role as lists of roles show it."""
    shown = {"id": person["id"], "name": person.get("last_name", ""), "member_ids": person.get("member_ids", [])}
    return {**shown, "banned": bool(person.get("banned"))}


def roles(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all roles."""
    return {"roles": [role_row(one) for one in world.persons.values() if one.get("type") == "role"]}


def known_role(world: PyrusWorld, number: int) -> Json:
    """Return a role as a person. Raises ApiRefusal 400."""
    if world.persons.get(number, {}).get("type") != "role":
        raise ApiRefusal(400, "invalid_role_id", f"no role {number}")
    return world.persons[number]


def role(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Return a role."""
    return role_row(known_role(world, number))


def create_role(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Add a role."""
    given = asked.json()
    return role_row(world.add_person(last_name=given["name"], type="role", member_ids=given.get("member_add") or []))


def update_role(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Rename a role, or change who has it."""
    found, given = known_role(world, number), asked.json()
    gone = given.get("member_remove") or []
    ids = dict.fromkeys([*found.get("member_ids", []), *(given.get("member_add") or [])])
    found["member_ids"] = [one for one in ids if one not in gone]
    found["last_name"] = given.get("name") or found["last_name"]
    found["banned"] = bool(given.get("banned", found.get("banned")))
    return role_row(found)


def delete_role(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Ban a role, which is what Pyrus does with one that is deleted."""
    found = known_role(world, number)
    found["banned"] = True
    return role_row(found)


def catalogs(world: PyrusWorld, _asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Return all catalogs without their rows."""
    heads = [{key: one[key] for key in one if key != "items"} for one in world.catalogs.values()]
    return {"catalogs": heads}


def create_catalog(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount) -> Json:
    """Add a catalog."""
    given, number = asked.json(), max(world.catalogs, default=0) + 1
    world.catalogs[number] = {"catalog_id": number, "name": given.get("name", ""), **rows_of(given)}
    return world.catalogs[number]


def rows_of(given: Json) -> Json:
    """Return the headers and the rows, numbered from 1, that a request gives a catalog."""
    items = [{"item_id": at, "values": one["values"]} for at, one in enumerate(given.get("items") or (), start=1)]
    headers = [{"name": name, "type": "text"} for name in given.get("catalog_headers") or ()]
    return {"catalog_headers": headers, "items": items}


def change_catalog(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Add, change and delete rows, each known by its first column."""
    catalog = known_catalog(world, number)
    given = asked.json()
    rows = {item["values"][0]: item for item in catalog["items"]}
    changes: dict[str, list[Json]] = {"added": [], "updated": [], "deleted": []}
    for wanted in given.get("upsert") or ():
        found = rows.get(wanted["values"][0])
        if found is None:
            found = {"item_id": max((one["item_id"] for one in catalog["items"]), default=0) + 1}
            catalog["items"].append(found)
        changes["updated" if "values" in found else "added"].append(found)
        found["values"] = wanted["values"]
    for key in given.get("delete") or ():
        if key in rows:
            catalog["items"].remove(rows[key])
            changes["deleted"].append(rows[key])
    return {"apply": True, **changes, "catalog_headers": catalog["catalog_headers"]}


def replace_catalog(world: PyrusWorld, asked: ApiQuestion, _account: ApiAccount, number: int) -> Json:
    """Replace all rows of a catalog."""
    catalog = known_catalog(world, number)
    catalog |= rows_of(asked.json())
    return {"apply": True, "added": catalog["items"], "catalog_headers": catalog["catalog_headers"]}


def known_catalog(world: PyrusWorld, number: int) -> Json:
    """Return a catalog. Raises ApiRefusal 403."""
    if number not in world.catalogs:
        raise ApiRefusal(403, "access_denied_catalog", f"no catalog {number}")
    return world.catalogs[number]


DIRECTORY_ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", r"members", members),
    ("POST", r"members", create_member),
    ("GET", r"members/(\d+)", member),
    ("PUT", r"members/(\d+)", update_member),
    ("DELETE", r"members/(\d+)", block_member),
    ("GET", r"roles", roles),
    ("POST", r"roles", create_role),
    ("GET", r"roles/(\d+)", role),
    ("PUT", r"roles/(\d+)", update_role),
    ("DELETE", r"roles/(\d+)", delete_role),
    ("GET", r"catalogs", catalogs),
    ("PUT", r"catalogs", create_catalog),
    ("POST", r"catalogs/(\d+)/diff", change_catalog),
    ("POST", r"catalogs/(\d+)", replace_catalog),
)
